"""``python -m benchmarks``: what is fast, what is small, against what, on this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.evaluating import autoattack_evaluation, pgd_evaluation
from benchmarks.fine_tuning import fine_tuning
from benchmarks.ladder import ladder
from benchmarks.machine import machine
from benchmarks.scaling import AXES, scaling, scaling_figure
from benchmarks.setting import Setting
from benchmarks.startup import startup
from benchmarks.tables import markdown
from benchmarks.trials import trials
from zsrobust.utils.devices import full_precision

WHAT = ("fine-tuning", "ladder", "pgd", "autoattack", "scaling", "trials", "startup")
PROMPTS = {"cpu": (25, 125), "cuda": (200, 1000)}
"""With batches of 32 and of 256 the same ratios of prompts to images."""
BATCH = {"cpu": 32, "cuda": 256}


def main() -> None:
    arguments = _arguments()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    for what in arguments.what:
        rows: list[dict[str, object]] = []
        with full_precision():
            for row in _rows(what, arguments):
                rows.append(row)
                # So that what was found is kept if the rest is cut off.
                _write(what, rows, arguments, out)
        Console(width=200).print(markdown(rows), markup=False)
        for kind in ("png", "svg") if what == "scaling" else ():
            figure = scaling_figure(rows)
            figure.savefig(out / f"scaling-{arguments.device}.{kind}", dpi=150)


def _rows(what: str, arguments: argparse.Namespace) -> Iterable[dict[str, object]]:
    device, precision, rounds = arguments.device, arguments.precision, arguments.rounds
    batch = arguments.batch or BATCH[device]
    prompts = arguments.prompts or PROMPTS[device]
    settings = [Setting(arguments.model, batch, number, device, precision) for number in prompts]
    if what == "fine-tuning":
        return fine_tuning(settings, rounds=rounds, memory=not arguments.no_memory)
    if what == "ladder":
        return ladder(settings[0], rounds=rounds)
    if what == "startup":
        return startup(rounds, arguments.before)
    if what == "trials":
        return trials(settings[0], rounds=rounds)
    if what == "pgd":
        return (row for one in settings for row in pgd_evaluation(one, rounds=rounds))
    if what == "autoattack":
        # Where many of an undefended model's samples stand, and where next to none does.
        return (
            row
            for eps in (1 / 255, 4 / 255)
            for row in autoattack_evaluation(batch, eps, device, rounds=rounds)
        )
    axes = {axis: AXES[device][axis] for axis in arguments.axes or AXES[device]}
    return scaling(settings[0], axes, rounds=rounds)


def _write(
    what: str, rows: list[dict[str, object]], arguments: argparse.Namespace, out: Path
) -> None:
    stem = out / f"{what}-{arguments.device}-{arguments.precision}"
    asked = {name: value for name, value in vars(arguments).items() if name != "out"}
    found = {"machine": machine(arguments.device), "arguments": {**asked, "what": what}}
    text = json.dumps({**found, "rows": rows}, indent=1)
    stem.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(rows), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="+", choices=WHAT)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--model", default="ViT-B-32/random", help="as zsrobust names models")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument("--prompts", type=int, nargs="+", help="numbers of classes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--axes", nargs="+", choices=list(AXES["cpu"]), help="of scaling")
    parser.add_argument("--no-memory", action="store_true", help="of fine-tuning: time alone")
    parser.add_argument("--before", metavar="SRC", help="of startup: an earlier src")
    parser.add_argument("--out", default="benchmark-results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
