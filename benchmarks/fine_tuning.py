"""``python -m benchmarks fine-tuning``: a step of ours beside the authors' way and TeCoA."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.authors_way import authors_step
from benchmarks.floor import counted, forward_operations, matrix_rate, step_operations
from benchmarks.memory import peak_mib
from benchmarks.our_way import our_step
from benchmarks.setting import Setting
from benchmarks.side_by_side import timed
from zsrobust.devices import full_precision

OURS, THEIRS = "PMG-AFT, ours", "PMG-AFT, the authors' way"
OURS_TECOA, THEIRS_TECOA = "TeCoA, ours", "TeCoA, its authors' way"
WAYS = {
    OURS: (our_step, True),
    THEIRS: (authors_step, True),
    OURS_TECOA: (our_step, False),
    THEIRS_TECOA: (authors_step, False),
}


def fine_tuning(
    settings: list[Setting], *, rounds: int, memory: bool = True
) -> list[dict[str, object]]:
    """A row a setting and way: seconds a step, images a second, peak memory, share of the floor."""
    rows = []
    for setting in settings:
        one = setting.batch * forward_operations(setting)
        # Before anything large is held here: each is measured in a process beside this one.
        peaks = {
            name: peak_mib(make, _for(name, setting), guided) if memory else float("nan")
            for name, (make, guided) in WAYS.items()
        }
        with full_precision():
            ways = {
                name: make(_for(name, setting), guided) for name, (make, guided) in WAYS.items()
            }
            found = timed(ways, rounds=rounds, device=torch.device(setting.device))
            passes = {name: counted(way) / one for name, way in ways.items()}
        del ways
        rate = matrix_rate(setting.device, _floor_precision(setting))
        for name, (_, guided) in WAYS.items():
            floor = step_operations(setting, guided=guided) / rate
            rows.append(
                {
                    "setting": f"{setting.model}, batch {setting.batch}, "
                    f"{setting.prompts} prompts, {setting.device}",
                    "way": name,
                    "precision": _for(name, setting).precision,
                    "seconds": found[name].as_dict(),
                    "passes": passes[name],
                    "images_per_second": setting.batch / found[name].median,
                    "peak_mib": peaks[name],
                    "share_of_floor": floor / found[name].median,
                    "against_ours": found[name].median
                    / found[OURS if guided else OURS_TECOA].median,
                    "memory_against_theirs": None,
                }
            )
        _compare_memory(rows[-len(WAYS) :])
    return rows


def _for(name: str, setting: Setting) -> Setting:
    """Ours has no fp16, theirs no bf16: each in its own reduced precision."""
    theirs = name in (THEIRS, THEIRS_TECOA)
    if setting.precision != "fp32":
        return replace(setting, precision="fp16" if theirs else "bf16")
    return setting


def _floor_precision(setting: Setting) -> str:
    return "fp32" if setting.precision == "fp32" else "bf16"


def _compare_memory(rows: list[dict[str, object]]) -> None:
    peak = {row["way"]: row["peak_mib"] for row in rows}
    pairs = {OURS: THEIRS, OURS_TECOA: THEIRS_TECOA}
    for row in rows:
        theirs = pairs.get(str(row["way"]))
        if theirs is not None:
            row["memory_against_theirs"] = peak[row["way"]] / peak[theirs]  # type: ignore[operator]
