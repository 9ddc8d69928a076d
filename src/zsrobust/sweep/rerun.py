"""Repeat a run in another folder, and compare value by value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zsrobust.config.schema import FinetuneConfig
from zsrobust.sweep.recorded_run import Column, RecordedRun, read_run, request_of
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class Difference:
    """One column of values that came out otherwise.

    Attributes:
        name: its file and name.
        values: how many there are, in the longer one.
        differing: how many are not equal bit for bit, those that one run lacks included.
        largest: the largest absolute difference of numbers; None where they are none.
    """

    name: str
    values: int
    differing: int
    largest: float | None

    def sentence(self) -> str:
        """The difference in words."""
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
    """Do what ``run`` says once more, in ``out`` (``RUN-again``), and compare.

    Paths in the run's ``config.yaml`` that are relative start from the current folder, as they did.

    Raises:
        RequestError: if ``run`` is not a finished run, ``out`` is not free for its repetition, or
            what the run needs is not here.
        RunError: if the repetition fails.
        KeyboardInterrupt: on Ctrl-C; the same call goes on from there.
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
    """What of ``before`` came out otherwise in ``after``."""
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
