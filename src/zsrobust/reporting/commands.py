"""Commands to copy: what gives a row again, and what follows a fine-tuning."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zsrobust.config.schema import EvaluateConfig, to_plain
from zsrobust.data.registry import opening
from zsrobust.data.specification import parse_specification, split_options
from zsrobust.data.suites import single
from zsrobust.evaluation.results import Row
from zsrobust.utils.errors import RequestError, ZSRobustError
from zsrobust.utils.files import as_argument
from zsrobust.utils.units import Eps

# Given by hand, or without effect on what is found.
_LEFT_OUT = (
    *("model", "data", "attack", "eps"),
    *("out", "overwrite", "device", "workers", "batch_size"),
)
# What a run makes besides its rows.
_BESIDES = ("sanity", "save_adversarial")


def evaluate_command(request: dict[str, Any], rows: Sequence[Row], *, whole: bool = False) -> str:
    """``zsrobust evaluate`` for the models, attacks and radii of ``rows``, on the request's sets.

    A model that the request does not name came with it, as the original of a fine-tuned one: then
    all its models are named, for they say how the original sees images.

    Args:
        request: what ``config.yaml`` of the run holds.
        rows: of that run.
        whole: also what the run made besides its rows: sanity checks and saved images.

    Raises:
        RequestError: if the request does not hold what a request must.
    """
    try:
        models = list(dict.fromkeys(row.model for row in rows))
        if not set(models) <= set(request["model"]):
            models = request["model"]
        radii = {float(Eps(eps)): str(eps) for eps in request["eps"]}
        argv = ["zsrobust", "evaluate", "--model", *models, "--data", *request["data"]]
        argv += ["--attack", *dict.fromkeys(row.attack for row in rows)]
        argv += ["--eps", *dict.fromkeys(radii[row.eps] for row in rows)]
    except (KeyError, TypeError) as error:
        raise RequestError(f"a config.yaml does not fit its results.json: {error!r}") from None
    usual = to_plain(EvaluateConfig(model=["-"], data=["-"]))
    left_out = _LEFT_OUT if whole else (*_LEFT_OUT, *_BESIDES)
    asked = {key: value for key, value in request.items() if key not in left_out}
    return shlex.join([*argv, *_departures(asked, usual)])


OTHER = "OTHER_PHOTOS"
"""Stands for a folder of class folders in a command, where no other images are known."""


def command_after(request: Mapping[str, Any], folder: Path) -> str:
    """``zsrobust evaluate`` for the model of a fine-tuning, on images that it was not trained on.

    They are the test split of its training set, or ``OTHER`` where it has none. The threat model
    and the prompts are those of the fine-tuning; how pixels are seen is stored with the model.

    Args:
        request: what ``config.yaml`` of the run holds.
        folder: of the run.
    """
    from zsrobust.models.loading import folder_name

    argv = ["zsrobust", "evaluate", "--model", folder_name(folder)]
    argv += ["--data", _test_data(request["data"])]
    attack = request.get("attack") or {}
    alike = {
        **{"eps": [attack["eps"]] if "eps" in attack else None, "norm": attack.get("norm")},
        **{key: request.get(key) for key in ("templates", "on_unreadable", "device", "workers")},
    }
    # The radius is named even where it is the usual one: it is what the model was trained for.
    usual = {**to_plain(EvaluateConfig(model=["-"], data=["-"])), "eps": None}
    given = {key: value for key, value in alike.items() if value is not None}
    return shlex.join([*argv, *_departures(given, usual)])


def _test_data(trained: str) -> str:
    head, options = split_options(trained)
    asked = parse_specification(trained)
    test = head + options.replace(f",split={asked.split}", "")
    try:
        split = opening(single(test), "test")().split
        if opening(trained, "train")().split not in ("all", split):
            return test
    except ZSRobustError:
        pass  # It has no such split.
    resolution = f",resolution={asked.resolution}" if asked.resolution else ""
    return f"imagefolder:{OTHER}{resolution}"


def repeating_command(folder: Path) -> str:
    """``zsrobust finetune`` for what the run in ``folder`` did, in a new folder next to it."""
    again = folder.with_name(f"{folder.name}-again")
    config = as_argument(folder / "config.yaml")
    return shlex.join(["zsrobust", "finetune", "--config", config, "--out", as_argument(again)])


def _departures(
    request: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """The options that depart from the defaults."""
    for key, value in request.items():
        if value == usual.get(key):
            continue
        if isinstance(value, dict):
            yield from _departures(value, usual.get(key) or {}, f"{key}.")
            continue
        yield f"--{prefix}{key}"
        for item in value if isinstance(value, list) else [value]:
            # As YAML, but for text; 1 is not true.
            yield item if isinstance(item, str) else json.dumps(item)
