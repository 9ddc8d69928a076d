"""The averages that a plan fixes beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.published.sets import published_sets
from zsrobust.data.registry import opening
from zsrobust.data.specification import parse_specification
from zsrobust.data.suites import expand
from zsrobust.evaluation.averages import Averaged
from zsrobust.utils.errors import RequestError


def read_averages(plan: Mapping[str, Any], evaluations: Iterable[EvaluateConfig]) -> list[Averaged]:
    """The averages of a plan, as in :meth:`Averaged.of_plain`, by name.

    Args:
        plan: by name.
        evaluations: those that are to have every set of every average.

    Raises:
        RequestError: if one is no list of sets, or an evaluation lacks one of them.
    """
    averages = [Averaged.of_plain(*one) for one in plan.items()]
    for evaluation in evaluations if averages else ():
        there = [_name(spec) for spec in expand(evaluation.data)]
        for average in averages:
            if lacking := [name for name in average.sets if name not in there]:
                raise RequestError(
                    f"the average {average.name!r} is over {', '.join(lacking)}, which the plan "
                    f"does not evaluate: it evaluates {', '.join(there)}"
                )
    return averages


def _name(spec: str) -> str:
    """The name of a set in results."""
    asked = parse_specification(spec)
    if asked.name or asked.kind in published_sets():
        return asked.name or asked.kind
    return opening(spec, "test")().name
