"""``python -m benchmarks ladder``: from the authors' way to ours, one saving after the other."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from benchmarks.authors_way import THEIRS, AuthorsStep, Savings
from benchmarks.floor import counted
from benchmarks.our_way import our_step
from benchmarks.setting import Setting
from benchmarks.side_by_side import Way, timed
from zsrobust.utils.devices import full_precision


def rungs(setting: Setting) -> dict[str, Way]:
    """A PMG-AFT step in every form, each with all savings of those before it."""
    savings = THEIRS
    ways: dict[str, Way] = {"the authors' way": AuthorsStep(setting, guided=True)}
    for field in fields(Savings):
        savings = replace(savings, **{field.name: True})
        step = AuthorsStep(setting, guided=True, savings=savings)
        ways[f"+ {field.name.replace('_', ' ')}"] = step
    ways["the package's step"] = our_step(setting, True)
    return ways


def ladder(setting: Setting, *, rounds: int) -> list[dict[str, object]]:
    """A row a rung: operations and seconds, what each saving gained and what it should have."""
    ways = rungs(setting)
    with full_precision():
        found = timed(ways, rounds=rounds, device=torch.device(setting.device))
        operations = {name: counted(way) for name, way in ways.items()}
    rows: list[dict[str, object]] = []
    before = None
    for name, timing in found.items():
        rows.append(
            {
                "way": name,
                "tera_operations": operations[name] / 1e12,
                "seconds": timing.as_dict(),
                "predicted_gain": before and operations[before] / operations[name],
                "measured_gain": before and found[before].median / timing.median,
            }
        )
        before = name
    return rows
