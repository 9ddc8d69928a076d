"""``python -m benchmarks``: what is fast, what is small, against what, on this machine."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.evaluating import autoattack_evaluation, pgd_evaluation
from benchmarks.fine_tuning import fine_tuning
from benchmarks.ladder import ladder
from benchmarks.machine import machine
from benchmarks.scaling import AXES, scaling, scaling_figure
from benchmarks.setting import Setting
from benchmarks.tables import markdown
from benchmarks.trials import trials

WHAT = ("fine-tuning", "ladder", "pgd", "autoattack", "scaling", "trials")
PROMPTS = {"cpu": (25, 125), "cuda": (200, 1000)}
"""With batches of 32 and of 256 the same ratios of prompts to images."""
BATCH = {"cpu": 32, "cuda": 256}


def main() -> None:
    arguments = _arguments()
    device, precision = arguments.device, arguments.precision
    batch = arguments.batch or BATCH[device]
    prompts = arguments.prompts or PROMPTS[device]
    settings = [Setting(arguments.model, batch, number, device, precision) for number in prompts]
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]]
    if arguments.what == "fine-tuning":
        rows = fine_tuning(settings, rounds=arguments.rounds, memory=not arguments.no_memory)
    elif arguments.what == "ladder":
        rows = ladder(settings[0], rounds=arguments.rounds)
    elif arguments.what == "trials":
        rows = trials(settings[0], rounds=arguments.rounds)
    elif arguments.what == "pgd":
        rows = [row for one in settings for row in pgd_evaluation(one, rounds=arguments.rounds)]
    elif arguments.what == "autoattack":
        # Where many of an undefended model's samples stand, and where next to none does.
        rows = [
            row
            for eps in (1 / 255, 4 / 255)
            for row in autoattack_evaluation(batch, eps, device, rounds=arguments.rounds)
        ]
    else:
        axes = {axis: AXES[device][axis] for axis in arguments.axes or AXES[device]}
        rows = scaling(settings[0], axes, rounds=arguments.rounds)
        for kind in ("png", "svg"):
            scaling_figure(rows).savefig(out / f"scaling-{device}.{kind}", dpi=150)
    stem = out / f"{arguments.what}-{device}-{precision}"
    asked = {name: value for name, value in vars(arguments).items() if name != "out"}
    found = {"machine": machine(device), "arguments": asked, "rows": rows}
    stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = markdown(rows)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    Console(width=200).print(text, markup=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--model", default="ViT-B-32/random", help="as zsrobust names models")
    parser.add_argument("--batch", type=int, help="images a step")
    parser.add_argument("--prompts", type=int, nargs="+", help="numbers of classes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--axes", nargs="+", choices=list(AXES["cpu"]), help="of scaling")
    parser.add_argument("--no-memory", action="store_true", help="of fine-tuning: time alone")
    parser.add_argument("--out", default="benchmark-results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
