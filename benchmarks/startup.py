"""``python -m benchmarks startup``: time and memory of command-line requests without torch."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.memory import MIB, resident
from zsrobust.attacks.registry import EXAMPLES
from zsrobust.cli.commands import command_names
from zsrobust.cli.commands.completion import SHELLS
from zsrobust.config.parsing import evaluate_parser, finetune_parser
from zsrobust.config.recipes import recipe_names
from zsrobust.config.run_folder import claimed, find_run
from zsrobust.config.schema import FinetuneConfig
from zsrobust.data.registry import OWN, kinds
from zsrobust.data.suites import SUITES
from zsrobust.export.formats import FORMATS
from zsrobust.models.adapters.options import ADAPTERS
from zsrobust.objectives import OBJECTIVES
from zsrobust.sweep.plan_file import plan_names

FINETUNE = ["finetune", "--model", "glyph-clip", "--data", "glyph:training"]
EVALUATE = ["evaluate", "--model", "glyph-clip", "--data", "digits"]
SWEEP = ["sweep", "tecoa", "--out", "sweep", "--steps", "2", "--evaluation.data", "digits"]
# The peak that the system reports for a finished process may be its parent's, so the process copies
# its own status.
ZSROBUST = """
import shutil, sys
from zsrobust.cli.main import main
try:
    sys.exit(main(sys.argv[2:]))
finally:
    shutil.copyfile("/proc/self/status", sys.argv[1])
"""
# What bash does when Tab is pressed after the arguments.
TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p zsrobust | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" zsrobust "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
"""


def answered_at_once(here: Path) -> dict[str, list[list[str]]]:
    """Arguments of requests that must not import torch, by kind; kinds named "wrong ..." exit 2.

    Creates the folders that they name in ``here``, the folder to run them in.
    """
    (here / "empty").mkdir()
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").touch()
    run = FinetuneConfig("glyph-clip", "glyph:training", out=str(here / "run"))
    with claimed(find_run(run), run):
        (here / "run" / "metrics.jsonl").touch()
    return {
        "help": list(_help()),
        "lists": [["--version"], ["recipes"], ["data", "list"]],
        "print_config": [
            *([*FINETUNE, "--config", name, "--print_config"] for name in recipe_names("finetune")),
            *([*EVALUATE, "--config", name, "--print_config"] for name in recipe_names("evaluate")),
        ],
        "wrong option": [[command, "--no-such-option"] for command in command_names()],
        "wrong value": list(_wrong_values()),
        "wrong name": list(_wrong_names()),
        "wrong folder": list(_wrong_folders()),
    }


def _help() -> Iterator[list[str]]:
    yield ["--help"]
    yield from ([command, "--help"] for command in command_names())
    yield from (["data", name, "--help"] for name in ("list", "prepare", "verify", "shard"))
    yield from (["reproduce", name, "--help"] for name in plan_names())
    yield from (["finetune", "--method", method, "--help"] for method in OBJECTIVES)


def _wrong_values() -> Iterator[list[str]]:
    for argv, parser in ((FINETUNE, finetune_parser("pmg_aft")), (EVALUATE, evaluate_parser())):
        for action in parser._actions:
            if getattr(action, "_typehint", None) in (int, float, bool):
                yield [*argv, f"--{action.dest}=many"]
    for method, objective in OBJECTIVES.items():
        for option in fields(objective):  # type: ignore[arg-type]
            if not str(option.type).startswith("str"):
                yield [*FINETUNE, "--method", method, f"--objective.{option.name}=[{{}}, 1]"]
    for kind in ADAPTERS:
        yield [*FINETUNE, "--adapter.kind", kind, "--adapter.blocks=-1"]
    yield [*EVALUATE, "--attack", "autoattack", "--pgd.restarts", "2"]
    yield [*SWEEP, "--model", "glyph-clip", "--data", "glyph:training", "--epochs", "many"]


def _wrong_names() -> Iterator[list[str]]:
    yield from ([*EVALUATE, "--attack", f"x{attack}"] for attack in EXAMPLES)
    for argv in (FINETUNE, EVALUATE):
        for option in ("model=glyf-clip", "data=digit", "data=digits,splt=test", "config=pgm_aft"):
            yield [*argv, f"--{option}"]
        yield [*argv, "--preprocessing", "clap"]
    yield [*FINETUNE, "--method", "pgm_aft"]
    yield ["data", "verify", "digits"]
    yield ["data", "lst"]
    yield ["reproduce", "everything"]
    yield ["completion", "cmd"]
    yield ["export", "glyph-clip", "--to", "pdf"]
    yield [*SWEEP, "--model", "glyf-clip", "--data", "glyph:training"]


def _wrong_folders() -> Iterator[list[str]]:
    for kind in [name for name, known in kinds().items() if known.layout] + [*OWN]:
        yield [*FINETUNE[:3], "--data", f"{kind}:none"]
        yield [*EVALUATE[:3], "--data", f"{kind}:none"]
    yield from (
        [*EVALUATE[:3], "--data", f"{name}:none"] for name, suite in SUITES.items() if suite.below
    )
    for model in ("none/model", "empty", "local-dir:none", "ttc(empty)", "glyph-clip@none.pth"):
        yield ["finetune", "--model", model, *FINETUNE[3:]]
        yield ["evaluate", "--model", model, *EVALUATE[3:]]
        yield from (["export", model, "--to", form] for form in FORMATS)
        yield ["serve", model]
    yield [*EVALUATE, "--attack", "transfer(pgd-10, empty)"]
    yield from ([*argv, "--out", "full"] for argv in (FINETUNE, EVALUATE))
    yield [*FINETUNE, "--out", "run", "--seed", "1"]
    yield ["export", "glyph-clip", "--to", "onnx", "--out", "full"]
    yield from ([command, "none", "none"] for command in ("compare", "seeds", "report", "push"))
    yield from ([command, "none"] for command in ("leaderboard", "rerun", "bundle", "verify"))
    yield ["reproduce", "photos", "none"]
    yield from (["demo", "--photos", folder] for folder in ("none", "empty"))
    yield ["demo", "--out", "full"]
    yield ["data", "shard", "imagefolder:none", "--out", "shards"]


def startup(rounds: int, before: str | None = None) -> Iterator[dict[str, object]]:
    """Yield a row per kind of request: seconds and peak memory, each in a new process.

    Args:
        rounds: measurements of each request.
        before: ``src`` of another version to compare with.
    """
    sources = {"_before": before, "": None} if before else {"": None}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        kinds = answered_at_once(here)
        # The scripts list the models of open_clip, which imports torch.
        kinds["completion script"] = [["completion", shell] for shell in SHELLS]
        for kind, requests in kinds.items():
            row: dict[str, object] = {"kind": kind, "requests": len(requests)}
            for suffix, source in sources.items():
                commands = [[sys.executable, "-c", ZSROBUST, "status", *argv] for argv in requests]
                row |= _row(requests, commands, here, source, rounds, suffix)
            yield row
        if shutil.which("bash"):
            script = [sys.executable, "-m", "zsrobust", "completion", "bash"]
            with (here / "script").open("wb") as file:
                subprocess.run(script, cwd=here, stdout=file, check=True)
            requests = [[""], *([command, "--"] for command in command_names())]
            bash = ["bash", "--norc", "-c", TAB, "-", "./script", "zsrobust"]
            (here / "status").unlink()
            row = {"kind": "completion in bash", "requests": len(requests)}
            commands = [[*bash, *argv] for argv in requests]
            yield row | _row(requests, commands, here, None, rounds, "")


def _row(
    requests: list[list[str]],
    commands: list[list[str]],
    here: Path,
    source: str | None,
    rounds: int,
    suffix: str,
) -> dict[str, Any]:
    measured = [_measure(command, here, source, rounds) for command in commands]
    medians = [statistics.median(seconds) for seconds, _ in measured]
    return {
        f"seconds{suffix}": {
            "median": statistics.median(medians),
            "fastest": min(medians),
            "slowest": max(medians),
        },
        f"peak_mib{suffix}": max(peak for _, peak in measured),
        f"slowest{suffix}": " ".join(requests[medians.index(max(medians))]),
    }


def _measure(
    command: list[str], here: Path, source: str | None, rounds: int
) -> tuple[list[float], float]:
    """Seconds of each round, and the peak resident memory in MiB (NaN if it is not reported)."""
    environment = {**os.environ, **({} if source is None else {"PYTHONPATH": source})}
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(
            command,
            cwd=here,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        seconds.append(time.perf_counter() - start)
    return seconds, resident("VmHWM", here / "status") / MIB
