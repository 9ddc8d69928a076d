"""``python -m benchmarks``: measure speed and memory on this machine."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.autoattack import autoattack_evaluation, autoattack_passes
from benchmarks.busy import busy
from benchmarks.coverage import coverage
from benchmarks.evaluation import pgd_evaluation
from benchmarks.fine_tuning import ablation, fine_tuning
from benchmarks.kept_memory import kept_memory
from benchmarks.optimizations import optimizations
from benchmarks.report import machine, markdown
from benchmarks.scaling import AXES, scaling, scaling_figure
from benchmarks.setting import Setting
from benchmarks.startup import startup
from zsrobust.utils.devices import full_precision

BENCHMARKS = (
    *("fine-tuning", "ablation", "optimizations"),
    *("pgd", "autoattack", "autoattack-passes", "scaling", "startup", "busy"),
    *("kept-memory", "coverage"),
)
MODEL = "ViT-B-32/random"
BATCH = {"cpu": 32, "cuda": 256}
PROMPTS = {"cpu": (25, 125), "cuda": (200, 1000)}
"""The ratios of prompts to images are the same on both devices."""


def main() -> None:
    arguments = _arguments()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    for benchmark in arguments.benchmark:
        rows: list[dict[str, object]] = []
        with full_precision():
            for row in _rows(benchmark, arguments):
                rows.append(row)
                # After every row, so that an interrupted benchmark leaves its results.
                _write(benchmark, rows, arguments, out)
        Console(width=200).print(markdown(rows), markup=False)
        for kind in ("png", "svg") if benchmark == "scaling" else ():
            figure = scaling_figure(rows)
            figure.savefig(out / f"scaling-{arguments.device}.{kind}", dpi=150)


def _rows(benchmark: str, arguments: argparse.Namespace) -> Iterable[dict[str, object]]:
    device, precision, rounds = arguments.device, arguments.precision, arguments.rounds
    batch = arguments.batch or BATCH[device]
    prompts = arguments.prompts or PROMPTS[device]
    model = arguments.model or MODEL
    settings = [Setting(model, batch, number, device, precision) for number in prompts]
    if benchmark == "fine-tuning":
        return fine_tuning(settings, rounds=rounds, memory=not arguments.no_memory)
    if benchmark == "ablation":
        return ablation(settings[0], rounds=rounds)
    if benchmark == "startup":
        return startup(rounds, arguments.before)
    if benchmark == "busy":
        return busy(rounds)
    if benchmark == "kept-memory":
        return kept_memory(rounds)
    if benchmark == "coverage":
        return coverage()
    if benchmark == "optimizations":
        return optimizations(settings[0], rounds=rounds)
    if benchmark == "pgd":
        return (row for one in settings for row in pgd_evaluation(one, rounds=rounds))
    if benchmark == "autoattack":
        return autoattack_evaluation(arguments.model, device, rounds=rounds)
    if benchmark == "autoattack-passes":
        return autoattack_passes(device, rounds=rounds)
    axes = {axis: AXES[device][axis] for axis in arguments.axes or AXES[device]}
    return scaling(settings[0], axes, rounds=rounds)


def _write(
    benchmark: str, rows: list[dict[str, object]], arguments: argparse.Namespace, out: Path
) -> None:
    stem = out / f"{benchmark}-{arguments.device}-{arguments.precision}"
    given = {name: value for name, value in vars(arguments).items() if name != "out"}
    page = {
        "machine": machine(arguments.device),
        "arguments": {**given, "benchmark": benchmark},
        "rows": rows,
    }
    stem.with_suffix(".json").write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(markdown(rows), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("benchmark", nargs="+", choices=BENCHMARKS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--model", help=f"as zsrobust names models; {MODEL} where one is needed")
    parser.add_argument("--batch", type=int, help="images per step")
    parser.add_argument("--prompts", type=int, nargs="+", help="numbers of classes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--axes", nargs="+", choices=list(AXES["cpu"]), help="scaling: which axes")
    parser.add_argument(
        "--no-memory", action="store_true", help="fine-tuning: do not measure memory"
    )
    parser.add_argument("--before", metavar="SRC", help="startup: src of an earlier version")
    parser.add_argument("--out", default="benchmark-results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
