"""Fine-tuning objectives: one method, one file."""

from zsrobust.objectives.base import Objective
from zsrobust.objectives.ft_clean import FTClean
from zsrobust.objectives.pmg_aft import PMGAFT
from zsrobust.objectives.registry import OBJECTIVES, objective_class
from zsrobust.objectives.tecoa import TeCoA

__all__ = ["OBJECTIVES", "PMGAFT", "FTClean", "Objective", "TeCoA", "objective_class"]
