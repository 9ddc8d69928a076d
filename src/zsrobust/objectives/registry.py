"""Method names, as written in recipes, to objectives."""

from __future__ import annotations

from zsrobust.objectives.agft import AGFT
from zsrobust.objectives.base import Objective
from zsrobust.objectives.comp_tga import CompTGA
from zsrobust.objectives.fare import FARE
from zsrobust.objectives.ft_adv import FTAdv
from zsrobust.objectives.ft_clean import FTClean
from zsrobust.objectives.pmg_aft import PMGAFT
from zsrobust.objectives.saft import SAFT
from zsrobust.objectives.sim_clip import SimCLIP
from zsrobust.objectives.sum import SumOfTerms
from zsrobust.objectives.tecoa import TeCoA
from zsrobust.objectives.tga_zsr import TGAZSR
from zsrobust.objectives.trades import TRADES
from zsrobust.utils.errors import RequestError

OBJECTIVES: dict[str, type[Objective]] = {
    "ft_clean": FTClean,
    "ft_adv": FTAdv,
    "tecoa": TeCoA,
    "pmg_aft": PMGAFT,
    "fare": FARE,
    "tga_zsr": TGAZSR,
    "comp_tga": CompTGA,
    "agft": AGFT,
    "saft": SAFT,
    "sim_clip": SimCLIP,
    "trades": TRADES,
    "sum": SumOfTerms,
}


def objective_class(method: str) -> type[Objective]:
    """The objective called ``method``.

    Raises:
        RequestError: if there is none.
    """
    if method not in OBJECTIVES:
        raise RequestError(f"method {method!r} is unknown: choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[method]
