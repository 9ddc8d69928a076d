"""Checks of names and paths before torch is imported, which takes seconds.

All of it is checked again where it is used: calls from Python do not pass here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zsrobust.config.schema import Config, EvaluateConfig, FinetuneConfig
from zsrobust.data.registry import Role, opening
from zsrobust.data.suites import expand, single
from zsrobust.evaluation.attacks import surrogate_names
from zsrobust.models.names import check_name
from zsrobust.models.protocols import protocol_named
from zsrobust.training.trackers import check_trackers


def check_training(config: FinetuneConfig) -> None:
    """Refuse a model or data that are not there, or named wrongly.

    Raises:
        RequestError: then.
    """
    check_trackers(config.trackers)
    _check_models(config, [config.model])
    _check_data([single(config.data)], "train")


def check_evaluation(config: EvaluateConfig, models: Sequence[str]) -> None:
    """Refuse attacks, ``models`` or data that are not there, or named wrongly.

    Raises:
        RequestError: then.
    """
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
