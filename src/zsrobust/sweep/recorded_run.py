"""A finished run as columns of values, whichever command made it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zsrobust.config.parsing import parse_evaluate, parse_finetune
from zsrobust.config.run_folder import CONFIG
from zsrobust.config.schema import Config, FinetuneConfig
from zsrobust.models.card import CARD, TENSORS, read_card
from zsrobust.models.names import resuming_command
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.environment import recorded
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import torch

Column = npt.NDArray[Any]
# How fast a run was is not repeated.
SPEED = "images_per_second"


@dataclass(frozen=True)
class RecordedRun:
    """What a run left.

    Attributes:
        columns: every value that it computed, by file and name; each of shape (N,).
        environment: where, and what it was given: versions, device, hashes.
    """

    columns: dict[str, Column]
    environment: dict[str, object]


def request_of(run: Path, out: Path) -> Config:
    """The request that ``run`` answers, to be answered in ``out``.

    Raises:
        RequestError: if ``run`` is no run folder, or its ``config.yaml`` is damaged.
    """
    path = run / CONFIG
    try:
        title = path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        title = ""
    words = ["--config", str(path), "--out", str(out)]
    if title.startswith("# zsrobust finetune"):
        return parse_finetune(words)
    if title.startswith("# zsrobust evaluate"):
        return parse_evaluate(words)
    raise RequestError(
        f"{run} is no run folder of zsrobust finetune or evaluate: it has no {CONFIG}"
    )


def read_run(run: Path, request: Config) -> RecordedRun:
    """Everything that the finished ``run`` of ``request`` computed.

    Raises:
        RequestError: if it is not finished, or damaged.
    """
    training = isinstance(request, FinetuneConfig)
    needed = (f"model/{CARD}", f"model/{TENSORS}") if training else ("results.json",)
    for name in (*needed, "metrics.jsonl" if training else "outcomes.parquet"):
        if not (run / name).is_file():
            raise RequestError(f"{run} is not finished: it has no {name}")
    if training and not (card := read_card(run / "model" / CARD)).get("finished", True):
        raise RequestError(
            f"{run} is not finished: its model is of step {card['step']} of {card['total_steps']}; "
            f"it goes on with: {resuming_command(run)}"
        )
    return _training(run) if training else _evaluation(run)


def _training(run: Path) -> RecordedRun:
    from safetensors.torch import load_file

    from zsrobust.training.checkpoint import checkpoints

    columns = {
        f"model/{TENSORS} {name}": _numbers(tensor)
        for name, tensor in load_file(run / "model" / TENSORS).items()
    }
    gathered: dict[str, list[Any]] = {}
    for row in read_metrics(run / "metrics.jsonl"):
        for key, value in row.items():
            if key not in (SPEED, "kind"):
                gathered.setdefault(f"metrics.jsonl {row['kind']} {key}", []).append(value)
    columns |= {name: np.array(values) for name, values in gathered.items()}
    where = dict((recorded(run / "environment.json") or [{}])[-1])
    for path in checkpoints(run / "checkpoints")[-1:]:
        where |= json.loads((path / "state.json").read_text(encoding="utf-8"))["inputs"]
    return RecordedRun(columns, where)


def _numbers(tensor: torch.Tensor) -> Column:
    # numpy has no bfloat16, of which every value is one of float32.
    exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return exact.flatten().numpy()


def _evaluation(run: Path) -> RecordedRun:
    import pyarrow.parquet as pq

    from zsrobust.evaluation.results import Results

    results = Results.read(run / "results.json")
    table = pq.read_table(run / "outcomes.parquet")
    columns = {
        f"outcomes.parquet {name}": np.array(table[name].to_pylist())
        for name in table.column_names
        if name != "key"
    }
    for name in ("clean_acc", "robust_acc", "zero_gradients"):
        columns[f"results.json {name}"] = np.array([getattr(row, name) for row in results.rows])
    weights = {
        f"weights of {name}": about["weights"] for name, about in results.protocol["models"].items()
    }
    keys = {f"key of row {at}": row.key for at, row in enumerate(results.rows)}
    return RecordedRun(columns, {**results.environment, **weights, **keys})
