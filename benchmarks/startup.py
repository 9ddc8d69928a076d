"""What the command line answers at once: how long it takes, and how much memory."""

from __future__ import annotations

import os
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
from zsrobust.config.parsing import evaluate_parser, finetune_parser
from zsrobust.config.recipes import recipe_names
from zsrobust.config.run_folder import claimed, find_run
from zsrobust.config.schema import FinetuneConfig
from zsrobust.data.registry import OWN, kinds
from zsrobust.data.suites import SUITES
from zsrobust.export.formats import FORMATS
from zsrobust.models.adapters.registry import ADAPTERS
from zsrobust.objectives import OBJECTIVES
from zsrobust.sweep.study import plan_names

FINETUNE = ["finetune", "--model", "glyph-clip", "--data", "glyph:training"]
EVALUATE = ["evaluate", "--model", "glyph-clip", "--data", "digits"]
SWEEP = ["sweep", "tecoa", "--out", "sweep", "--steps", "2", "--evaluation.data", "digits"]
# What the system says of an ended process counts the one that started it, too.
ANSWER = """
import shutil, sys
from zsrobust.cli.main import main
try:
    sys.exit(main(sys.argv[2:]))
finally:
    shutil.copyfile("/proc/self/status", sys.argv[1])
"""


def answered_at_once(here: Path) -> dict[str, list[list[str]]]:
    """Words that need no torch, by what they ask for; those of names beginning "wrong" exit 2.

    They are for the folder ``here``, in which the folders that some of them name are made.
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
    yield from ([command, "none"] for command in ("leaderboard", "rerun"))
    yield ["reproduce", "photos", "none"]
    yield from (["demo", "--photos", folder] for folder in ("none", "empty"))
    yield ["demo", "--out", "full"]
    yield ["data", "shard", "imagefolder:none", "--out", "shards"]


def startup(rounds: int, before: str | None = None) -> Iterator[dict[str, object]]:
    """A row a kind of request: each in a process of its own, its time and the most memory.

    Args:
        rounds: times that each is measured.
        before: ``src`` of another version, to be measured beside this one.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        asked = answered_at_once(here)
        for what, requests in asked.items():
            row: dict[str, object] = {"what": what, "requests": len(requests)}
            for when, source in (("before", before), ("now", None)):
                if when == "now" or source is not None:
                    found = [_measured(argv, here, source, rounds) for argv in requests]
                    row |= _row(requests, found, "_before" if when == "before" else "")
            yield row


def _row(
    requests: list[list[str]], found: list[tuple[list[float], float]], suffix: str
) -> dict[str, Any]:
    medians = [statistics.median(seconds) for seconds, _ in found]
    return {
        f"seconds{suffix}": {
            "median": statistics.median(medians),
            "fastest": min(medians),
            "slowest": max(medians),
        },
        f"peak_mib{suffix}": max(peak for _, peak in found),
        f"slowest{suffix}": " ".join(requests[medians.index(max(medians))]),
    }


def _measured(
    argv: list[str], here: Path, source: str | None, rounds: int
) -> tuple[list[float], float]:
    """Seconds of each round, and MiB of resident memory at the highest (Linux; elsewhere nan)."""
    environment = {**os.environ, **({} if source is None else {"PYTHONPATH": source})}
    told = here / "status"
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", ANSWER, str(told), *argv],
            cwd=here,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        seconds.append(time.perf_counter() - begun)
    return seconds, resident("VmHWM", told) / MIB
