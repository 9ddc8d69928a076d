"""The entry point ``zsrobust``: finds the command, runs it, and turns failures into exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from zsrobust._version import __version__
from zsrobust.cli.commands import command_module, command_names, summary
from zsrobust.cli.output import Output
from zsrobust.cli.parser import asks_for_help
from zsrobust.utils.errors import Stopped, ZSRobustError
from zsrobust.utils.progress import printable
from zsrobust.utils.signals import sigterm_stops
from zsrobust.utils.validation import no_option, unknown

LONGEST_MESSAGE = 2000
READER_GONE = 141
"""The exit code of a program that SIGPIPE ends."""
USAGE = """\
usage: zsrobust [--version] [--debug] [--json] COMMAND ...

commands:
{commands}

zsrobust COMMAND --help lists a command's options. Every command takes --json (JSON on stdout,
messages on stderr) and --debug (tracebacks). --overwrite is short for --overwrite true, and so for
every option that is true or false. New here? Try zsrobust demo --quick."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 done, 1 failed, 2 bad request; 130 (Ctrl-C) and 143 (SIGTERM): the same command resumes.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug, as_json = "--debug" in given, "--json" in given
    given = [argument for argument in given if argument not in ("--debug", "--json")]
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    if not given or (given[0].startswith("-") and asks_for_help(given)):
        sys.stdout.write(f"{usage()}\n")
        return 0
    command, *rest = given
    if command == "--version":
        sys.stdout.write(f"zsrobust {__version__}\n")
        return 0
    if command.startswith("-"):
        return _fail(
            no_option(command, ("debug", "help", "json", "version"), help="see zsrobust --help"), 2
        )
    if command not in command_names():
        return _fail(unknown("command", command, command_names()), 2)
    try:
        with sigterm_stops():
            command_module(command).run(rest, Output(as_json=as_json))
            sys.stdout.flush()
    except ZSRobustError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped()
        return _fail(str(stopped), stopped.exit_code)
    except BrokenPipeError:
        # Its reader is gone, as in `zsrobust ... | head`; Python would complain at exit, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except Exception as error:
        if debug:
            raise
        return _fail(f"{type(error).__name__}: {error} (--debug shows the traceback)", 1)
    return 0


def usage() -> str:
    """What ``zsrobust --help`` prints: every command, and the first line of its docstring."""
    names = command_names()
    width = max(map(len, names))
    lines = "\n".join(f"  {name:{width}}  {summary(name)}" for name in names)
    return USAGE.format(commands=lines)


def _fail(sentence: str, code: int) -> int:
    if len(sentence) > LONGEST_MESSAGE:
        sentence = f"{sentence[:LONGEST_MESSAGE]} ..."
    sys.stderr.write(f"zsrobust: {printable(sentence)}\n")
    return code
