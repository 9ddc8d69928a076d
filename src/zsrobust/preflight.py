"""What words and files alone show to be wrong, before torch is imported, which takes seconds.

All of it is refused again where it is used: calls from Python do not come by here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from zsrobust.config import Config, EvaluateConfig, FinetuneConfig
from zsrobust.data.registry import Role, opening
from zsrobust.data.suites import expand, single
from zsrobust.evaluation.attacks import surrogate_names
from zsrobust.models.names import check_name
from zsrobust.models.protocols import protocol_named
from zsrobust.run_folder import check_out

if TYPE_CHECKING:
    from zsrobust.sweep.plan import Sweep


def check_finetune(config: FinetuneConfig) -> None:
    """Refuse a fine-tuning whose folder, model or data are not as they must be.

    Raises:
        RequestError: then.
    """
    check_out(config)
    _check_training(config)


def check_evaluate(config: EvaluateConfig) -> None:
    """Refuse an evaluation whose folder, models, attacks or data are not as they must be.

    Raises:
        RequestError: then.
    """
    check_out(config)
    _check_evaluation(config, config.model)


def check_sweep(sweep: Sweep) -> None:
    """Refuse a sweep whose recipes' models, data or attacks are not as they must be.

    Raises:
        RequestError: then.
    """
    for config in sweep.recipes.values():
        _check_training(config)
    _check_evaluation(sweep.evaluation, [])


def _check_training(config: FinetuneConfig) -> None:
    _check_models(config, [config.model])
    _check_data([single(config.data)], "train")


def _check_evaluation(config: EvaluateConfig, models: Sequence[str]) -> None:
    _check_models(config, [*surrogate_names(config), *models])
    _check_data(expand(config.data), "test")


def _check_models(config: Config, names: Iterable[str]) -> None:
    if config.preprocessing is not None:
        protocol_named(config.preprocessing)
    for name in names:
        check_name(name)


def _check_data(specs: Iterable[str], role: Role) -> None:
    for spec in specs:
        opening(spec, role)
