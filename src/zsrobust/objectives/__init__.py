"""Fine-tuning objectives, one method a file. Importing them registers them, without torch."""

from importlib import import_module
from pkgutil import iter_modules

from zsrobust.objectives.adv_flyp import AdvFLYP
from zsrobust.objectives.agft import AGFT
from zsrobust.objectives.base import (
    OBJECTIVES,
    HeadUpdates,
    Needs,
    Objective,
    StepContext,
    objective_class,
    register_objective,
)
from zsrobust.objectives.caw import CAW
from zsrobust.objectives.comp_tga import CompTGA
from zsrobust.objectives.fare import FARE
from zsrobust.objectives.ft_adv import FTAdv
from zsrobust.objectives.ft_clean import FTClean
from zsrobust.objectives.hpt import HPT
from zsrobust.objectives.lore import LORE
from zsrobust.objectives.mmcoa import MMCoA
from zsrobust.objectives.pmg_aft import PMGAFT
from zsrobust.objectives.saft import SAFT
from zsrobust.objectives.sim_clip import SimCLIP
from zsrobust.objectives.sum import SumOfTerms, Term
from zsrobust.objectives.tecoa import TeCoA
from zsrobust.objectives.tga_zsr import TGAZSR
from zsrobust.objectives.trades import TRADES

__all__ = [
    "AGFT",
    "CAW",
    "FARE",
    "HPT",
    "LORE",
    "OBJECTIVES",
    "PMGAFT",
    "SAFT",
    "TGAZSR",
    "TRADES",
    "AdvFLYP",
    "CompTGA",
    "FTAdv",
    "FTClean",
    "HeadUpdates",
    "MMCoA",
    "Needs",
    "Objective",
    "SimCLIP",
    "StepContext",
    "SumOfTerms",
    "TeCoA",
    "Term",
    "objective_class",
    "register_objective",
]

# A method registers itself when its module is imported, whether it is named above or not.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
