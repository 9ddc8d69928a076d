"""Method names, as written in recipes, to objectives."""

from __future__ import annotations

from zsrobust.errors import RequestError
from zsrobust.objectives.ft_clean import FTClean
from zsrobust.objectives.pmg_aft import PMGAFT
from zsrobust.objectives.tecoa import TeCoA

OBJECTIVES: dict[str, type[FTClean] | type[TeCoA] | type[PMGAFT]] = {
    "ft_clean": FTClean,
    "tecoa": TeCoA,
    "pmg_aft": PMGAFT,
}


def objective_class(method: str) -> type[FTClean] | type[TeCoA] | type[PMGAFT]:
    """The objective called ``method``.

    Raises:
        RequestError: if there is none.
    """
    if method not in OBJECTIVES:
        raise RequestError(f"method {method!r} is unknown: choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[method]
