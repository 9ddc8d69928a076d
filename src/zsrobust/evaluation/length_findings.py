"""A check of the lengths that an evaluation was asked for: radii and steps that fit each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from zsrobust.attacks.pgd_attack import doubtful_lengths
from zsrobust.evaluation.findings import Finding
from zsrobust.evaluation.results import Results
from zsrobust.evaluation.row_groups import passed


def lengths_fit(results: Results) -> list[Finding]:
    """No radius is a speck of a grey level, no step leaps across the ball or falls short of it.

    Of attacks, and of defences that take steps; read from the protocol, before there are rows.
    """
    asked = list(_lengths(results.protocol))
    # Each once, however many attacks and data sets share it.
    doubts: dict[str, tuple[str, float, float]] = {}
    for name, norm, eps, step_size, steps in asked:
        if doubt := doubtful_lengths(norm, eps, step_size, steps):
            doubts.setdefault(doubt, (name, eps, step_size))
    return [
        Finding(
            "steps fit the radius",
            False,
            f"{name}: {doubt}",
            {"eps": eps, "step_size": step_size},
            "Lengths are fractions of the pixel range, 1/255 for one grey level; where no step "
            "size is given it is 2.5 eps / steps.",
        )
        for doubt, (name, eps, step_size) in doubts.items()
    ] or passed(
        "steps fit the radius",
        len(asked),
        "no step leaps across its ball, or falls short of its edge",
    )


def _lengths(protocol: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float, float]]:
    """Name, norm, radius, step size and number of steps of all that has a radius."""
    for data in protocol.get("data", {}).values():
        for attack in _and_parts(data.get("attacks", ())):
            norm, eps = attack["threat"]["norm"], attack["threat"]["eps"]
            if "step_size" in attack:
                yield attack["name"], norm, eps, attack["step_size"], attack["steps"]
            else:
                yield attack["name"], norm, eps, eps, math.inf
    for name, model in protocol.get("models", {}).items():
        if "step_size" in (defence := model.get("defence", {})):
            # It need not reach the edge of its ball.
            yield name, "linf", defence["eps"], defence["step_size"], math.inf


def _and_parts(attacks: Any) -> Iterator[Mapping[str, Any]]:
    """Those that say their threat model, and what they are made of."""
    for attack in attacks:
        if isinstance(attack, Mapping) and "threat" in attack:
            yield attack
            yield from _and_parts([*attack.get("parts", ()), attack.get("attack")])
