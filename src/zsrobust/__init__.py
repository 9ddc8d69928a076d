"""Fine-tune, attack and evaluate CLIP models for zero-shot adversarial robustness.

Everything here loads when it is first used: importing the package takes no device and writes
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zsrobust._version import __version__
from zsrobust.utils.allocator import keep_freed_memory
from zsrobust.utils.openmp import wait_briefly

if TYPE_CHECKING:
    from zsrobust import attacks, objectives
    from zsrobust.config.parsing import recipe
    from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
    from zsrobust.data.image_set import ImageSet
    from zsrobust.data.torch_dataset import image_set
    from zsrobust.evaluation.api import evaluate
    from zsrobust.models.clip import CLIPModel
    from zsrobust.models.loading import load
    from zsrobust.models.own_model import LogitsClassifier
    from zsrobust.models.zero_shot import ZeroShotClassifier
    from zsrobust.training.api import finetune
    from zsrobust.utils.errors import RequestError, RunError, ZSRobustError

# Before any module imports torch.
wait_briefly()
keep_freed_memory()

_HOMES = {
    "CLIPModel": "zsrobust.models.clip",
    "EvaluateConfig": "zsrobust.config.schema",
    "FinetuneConfig": "zsrobust.config.schema",
    "ImageSet": "zsrobust.data.image_set",
    "LogitsClassifier": "zsrobust.models.own_model",
    "RequestError": "zsrobust.utils.errors",
    "RunError": "zsrobust.utils.errors",
    "ZSRobustError": "zsrobust.utils.errors",
    "ZeroShotClassifier": "zsrobust.models.zero_shot",
    "attacks": "",
    "evaluate": "zsrobust.evaluation.api",
    "finetune": "zsrobust.training.api",
    "image_set": "zsrobust.data.torch_dataset",
    "load": "zsrobust.models.loading",
    "objectives": "",
    "recipe": "zsrobust.config.parsing",
}

__all__ = [
    "CLIPModel",
    "EvaluateConfig",
    "FinetuneConfig",
    "ImageSet",
    "LogitsClassifier",
    "RequestError",
    "RunError",
    "ZSRobustError",
    "ZeroShotClassifier",
    "__version__",
    "attacks",
    "evaluate",
    "finetune",
    "image_set",
    "load",
    "objectives",
    "recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zsrobust' has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(import_module(home), name) if home else import_module(f"zsrobust.{name}")


def __dir__() -> list[str]:
    return __all__
