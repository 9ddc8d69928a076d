"""Per-sample outcomes in Parquet: what every accuracy was counted from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from zsrobust.evaluation.results import Row
from zsrobust.files import written_whole


@dataclass(frozen=True)
class Outcomes:
    """One model on the samples of one data set, before or after one attack.

    Attributes:
        sample_ids: N ids.
        labels, predictions: N class indices.
        losses: N cross-entropies at the model's own logit scale.
    """

    sample_ids: list[str]
    labels: list[int]
    predictions: list[int]
    losses: list[float]

    @classmethod
    def empty(cls) -> Outcomes:
        """None yet."""
        return cls([], [], [], [])

    def extend(
        self, sample_ids: Sequence[str], labels: Tensor, predictions: Tensor, losses: Tensor
    ) -> None:
        """Add a batch."""
        self.sample_ids.extend(sample_ids)
        self.labels.extend(labels.tolist())
        self.predictions.extend(predictions.tolist())
        self.losses.extend(losses.tolist())

    @property
    def right(self) -> list[bool]:
        """Whether each sample is classified correctly."""
        return [a == b for a, b in zip(self.labels, self.predictions, strict=True)]

    def write(self, path: Path) -> None:
        """Write to a Parquet file, whole or not at all."""
        with written_whole(path) as temporary:
            pq.write_table(pa.table(vars(self)), temporary)

    @classmethod
    def read(cls, path: Path) -> Outcomes | None:
        """Read back what :meth:`write` wrote; None where there is nothing whole."""
        try:
            return cls(**pq.read_table(path).to_pydict())
        except (OSError, pa.ArrowInvalid, TypeError):
            return None


def table(row: Row, clean: Outcomes, after: Outcomes) -> pa.Table:
    """The rows of ``outcomes.parquet`` behind one row of the results."""
    same = {key: getattr(row, key) for key in ("model", "dataset", "split", "attack", "eps")}
    return pa.table(
        {
            **{key: [value] * row.n for key, value in same.items()},
            "sample_id": clean.sample_ids,
            "label": clean.labels,
            "clean_prediction": clean.predictions,
            "clean_loss": clean.losses,
            "adversarial_prediction": after.predictions,
            "adversarial_loss": after.losses,
        }
    )
