"""The command ``zsrobust``: which command it is, and what becomes of its failures."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from zsrobust._version import __version__
from zsrobust.cli.commands import COMMANDS
from zsrobust.utils.errors import Stopped, ZSRobustError
from zsrobust.utils.progress import printable
from zsrobust.utils.signals import sigterm_stops

LONGEST = 2000
HELP = {"--help", "-h"}
USAGE = """\
usage: zsrobust [--version] [--debug] COMMAND ...

commands:
  demo         fine-tune three methods live on a small world and see what becomes of robustness
  finetune     fine-tune a CLIP's image encoder for zero-shot adversarial robustness
  evaluate     clean and adversarial accuracy of zero-shot models
  compare      which differences between evaluated models are real
  seeds        mean and spread over evaluations of several seeds
  serve        a page in the browser: your image, your class names, an attack, side by side
  report       one page on runs, with every figure and table, from their results files
  leaderboard  one page that ranks models measured the same way
  export       write a model for open_clip, transformers, ONNX or TeCoA's scripts
  push         upload an exported model to the Hugging Face hub
  sweep        many recipes and seeds on one budget, ending in one table and plot
  reproduce    does PMG-AFT beat TeCoA? the whole experiment in one command
  rerun        repeat a run from its own files, and say what came out otherwise
  data         list, download and verify the published data sets
  recipes      list the packaged recipes
  doctor       what is installed and at hand here, and what is wrong
  completion   print a script that completes these words in bash, zsh or fish

zsrobust COMMAND --help lists a command's options. Besides them, every command but completion takes
--json (figures for machines on stdout, all else on stderr), every one takes --debug (the traceback
of a failure), and evaluate takes --compare published (printed rows of papers beside yours). What is
true or false is given as --overwrite true, or --overwrite alone."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 failed, 2 bad request; 130 (Ctrl-C) and 143 (SIGTERM): the same command goes on.
    """
    given = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    asks_for_help = not given or not HELP.isdisjoint(given)
    command, rest = (given[0], given[1:]) if given else ("--help", [])
    if asks_for_help:
        # First, so that it is answered before any other word is refused.
        rest = ["--help", *(word for word in rest if word not in HELP)]
    if asks_for_help and command.startswith("-"):
        sys.stdout.write(USAGE + "\n")
        return 0
    if command == "--version":
        sys.stdout.write(f"zsrobust {__version__}\n")
        return 0
    if command not in COMMANDS:
        return _fail(f"there is no command {command!r}: choose {', '.join(COMMANDS)}", 2)
    try:
        with sigterm_stops():
            COMMANDS[command](rest)
    except ZSRobustError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped()
        return _fail(str(stopped), stopped.exit_code)
    except Exception as error:
        if debug:
            raise
        return _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)
    return 0


def _fail(sentence: str, code: int) -> int:
    # However long the value that it repeats.
    short = sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]} ..."
    sys.stderr.write(f"zsrobust: {printable(short)}\n")
    return code
