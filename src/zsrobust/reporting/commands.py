"""The command that gives a row again, from the request that its run folder keeps."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from zsrobust.config import EvaluateConfig, to_plain
from zsrobust.errors import RequestError
from zsrobust.evaluation.results import Row
from zsrobust.units import Eps

# Given by hand, or without effect on a number.
_LEFT_OUT = (
    *("model", "data", "attack", "eps", "out", "overwrite", "device", "workers"),
    *("batch_size", "sanity"),
)


def evaluate_command(request: dict[str, Any], rows: Sequence[Row]) -> str:
    """``zsrobust evaluate`` for the models, attacks and radii of ``rows``, on the request's sets.

    A model that the request does not name came with it, as the original of a fine-tuned one: then
    all its models are named, for they say how the original sees images.

    Args:
        request: what ``config.yaml`` of the run holds.
        rows: of that run.

    Raises:
        RequestError: if the request does not hold what a request must.
    """
    try:
        models = list(dict.fromkeys(row.model for row in rows))
        if not set(models) <= set(request["model"]):
            models = request["model"]
        radii = {float(Eps(eps)): str(eps) for eps in request["eps"]}
        words = ["zsrobust", "evaluate", "--model", *models, "--data", *request["data"]]
        words += ["--attack", *dict.fromkeys(row.attack for row in rows)]
        words += ["--eps", *dict.fromkeys(radii[row.eps] for row in rows)]
    except (KeyError, TypeError) as error:
        raise RequestError(f"a config.yaml does not fit its results.json: {error!r}") from None
    usual = to_plain(EvaluateConfig(model=["-"], data=["-"]))
    return shlex.join([*words, *_options(request, usual)])


def _options(request: dict[str, Any], usual: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """What departs from the defaults."""
    for key, value in request.items():
        if (not prefix and key in _LEFT_OUT) or value == usual.get(key):
            continue
        if isinstance(value, dict):
            yield from _options(value, usual.get(key) or {}, f"{key}.")
            continue
        yield f"--{prefix}{key}"
        for word in value if isinstance(value, list) else [value]:
            yield {True: "true", False: "false", None: "null"}.get(word, str(word))
