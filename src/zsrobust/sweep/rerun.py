"""Repeat a run in another folder, and compare value by value."""

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
from zsrobust.models.card import CARD, TENSORS, TEXT, read_card
from zsrobust.models.names import resuming_command
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.environment import recorded
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import torch

Column = npt.NDArray[Any]
# How fast a run was is not repeated.
SPEED = "images_per_second"


@dataclass(frozen=True)
class Difference:
    """One column of values that differs.

    Attributes:
        name: its file and name.
        values: how many there are, in the longer one.
        differing: how many are not equal bit for bit, those that one run lacks included.
        largest: the largest absolute difference; None for values that are not numbers.
    """

    name: str
    values: int
    differing: int
    largest: float | None

    def sentence(self) -> str:
        """The difference in one line."""
        by = "" if self.largest is None else f", by at most {self.largest:.3g}"
        return f"{self.name}: {self.differing} of {self.values} differ{by}"


@dataclass(frozen=True)
class Rerun:
    """A run and its repetition.

    Attributes:
        run, again: their folders.
        columns, values: how many columns and values were compared.
        differences: of values; none where the two are the same bit for bit.
        environment: what is not the same of where and with what, as (then, now).
    """

    run: Path
    again: Path
    columns: int
    values: int
    differences: list[Difference]
    environment: dict[str, tuple[object, object]]

    @property
    def same(self) -> bool:
        """Whether every value is the same bit for bit."""
        return not self.differences


def rerun(run: Path, out: Path | None = None) -> Rerun:
    """Repeat ``run`` in ``out`` (``RUN-again``), and compare.

    Paths in the run's ``config.yaml`` that are relative start from the current folder, as they did.

    Raises:
        RequestError: if ``run`` is not a finished run, ``out`` is not free for its repetition, or
            what the run needs is not here.
        RunError: if the repetition fails.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    again = out or run.with_name(f"{run.resolve().name}-again")
    if again.resolve() == run.resolve():
        raise RequestError(f"out {again} is the run itself: name another folder")
    request = request_of(run, again)
    before = read_run(run, request)
    if isinstance(request, FinetuneConfig):
        from zsrobust.training.finetune import finetune

        finetune(request)
    else:
        from zsrobust.evaluation.evaluator import evaluate

        evaluate(request)
    return compare_runs(run, before, again, read_run(again, request))


def compare_runs(run: Path, before: RecordedRun, again: Path, after: RecordedRun) -> Rerun:
    """Where ``after`` differs from ``before``."""
    nothing = np.array([])
    names = list(before.columns | after.columns)
    found = [
        _difference(name, before.columns.get(name, nothing), after.columns.get(name, nothing))
        for name in names
    ]
    where = {
        name: (before.environment.get(name), after.environment.get(name))
        for name in before.environment | after.environment
        if before.environment.get(name) != after.environment.get(name)
    }
    values = sum(len(column) for column in before.columns.values())
    return Rerun(run, again, len(names), values, [one for one in found if one is not None], where)


def _difference(name: str, before: Column, after: Column) -> Difference | None:
    n = min(len(before), len(after))
    lacking = max(len(before), len(after)) - n
    a, b = before[:n], after[:n]
    numbers = a.dtype.kind in "fiu" and b.dtype.kind in "fiu"
    differ = _bits(a) != _bits(b) if a.dtype == b.dtype else a != b
    largest = None
    if numbers and differ.any():
        largest = float(np.abs(a[differ].astype(float) - b[differ].astype(float)).max())
    differing = int(np.sum(differ)) + lacking
    return Difference(name, n + lacking, differing, largest) if differing else None


def _bits(column: Column) -> Column:
    """``column``, its floating-point numbers as integers: nan is nan then, and 0 is not -0."""
    return column.view(f"i{column.dtype.itemsize}") if column.dtype.kind == "f" else column


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
    argv = ["--config", str(path), "--out", str(out)]
    if title.startswith("# zsrobust finetune"):
        return parse_finetune(argv)
    if title.startswith("# zsrobust evaluate"):
        return parse_evaluate(argv)
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
            f"it resumes with: {resuming_command(run)}"
        )
    return _training(run) if training else _evaluation(run)


def _training(run: Path) -> RecordedRun:
    from safetensors.torch import load_file

    from zsrobust.training.checkpoint import checkpoints

    columns = {
        f"model/{file} {name}": _numbers(tensor)
        for file in (TENSORS, TEXT)
        if (run / "model" / file).is_file()
        for name, tensor in load_file(run / "model" / file).items()
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
        values = [getattr(row, name) for row in results.rows]
        columns[f"results.json {name}"] = np.array(values, dtype=float)
    weights = {
        f"weights of {name}": about["weights"] for name, about in results.protocol["models"].items()
    }
    keys = {f"key of row {at}": row.key for at, row in enumerate(results.rows)}
    return RecordedRun(columns, {**results.environment, **weights, **keys})
