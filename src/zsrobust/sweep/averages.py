"""The averages that a plan fixes beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.published.sets import published_sets
from zsrobust.data.registry import opening
from zsrobust.data.specification import parse_specification
from zsrobust.data.suites import expand
from zsrobust.evaluation.averages import Averaged
from zsrobust.utils.errors import RequestError


def read_averages(
    plan: Mapping[str, Any], evaluations: Mapping[str, EvaluateConfig]
) -> list[Averaged]:
    """The averages of a plan, each as in :meth:`Averaged.of_plain`.

    Args:
        plan: by name.
        evaluations: by name; every one must have all sets of the first average, and one of them
            all sets of each further average. None of them to check nothing.

    Raises:
        RequestError: if an average is no list of sets, or lacks sets.
    """
    averages = [Averaged.of_plain(*one) for one in plan.items()]
    found = evaluations.items() if averages else ()
    there = {name: [_name(spec) for spec in expand(one.data)] for name, one in found}
    for index, average in enumerate(averages if there else ()):
        lacking = {
            name: [one for one in average.sets if one not in sets] for name, sets in there.items()
        }
        # Of the first average the evaluation that lacks most, of others the one that lacks least.
        name = (min if index else max)(lacking, key=lambda name: len(lacking[name]))
        if lacking[name]:
            raise RequestError(
                f"the average {average.name!r} is over {', '.join(lacking[name])}, which the plan "
                f"does not evaluate by {name}: it evaluates {', '.join(there[name])}"
            )
    return averages


def _name(spec: str) -> str:
    """The name of a set in results."""
    asked = parse_specification(spec)
    if asked.name or asked.kind in published_sets():
        return asked.name or asked.kind
    return opening(spec, "test")().name
