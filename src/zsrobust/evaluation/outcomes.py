"""Per-sample outcomes in Parquet: what every accuracy was counted from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zsrobust.evaluation.results import Row
from zsrobust.utils.files import atomic_file

# Logits of CLIPs reach 30, where fp32 resolves 2e-6; the order of a sum moves them by some of that.
TIE = 1e-4


@dataclass(frozen=True)
class Outcomes:
    """One model on samples of one data set, before or after one attack.

    Attributes:
        sample_ids: N ids.
        labels, predictions: N class indices.
        losses: N cross-entropies at the model's own logit scale.
        margins: N differences of the true logit and the largest other, above 0 where right.
        fell_to: N names: the attack, or the part of an ensemble, that fooled the model; ``clean``
            where it was wrong before any, empty where it is robust.
    """

    sample_ids: list[str]
    labels: list[int]
    predictions: list[int]
    losses: list[float]
    margins: list[float]
    fell_to: list[str]

    @classmethod
    def joined(cls, parts: Iterable[Outcomes]) -> Outcomes:
        """The samples of all ``parts``, in order."""
        parts = list(parts)
        return cls(
            *(
                list(chain.from_iterable(getattr(part, field.name) for part in parts))
                for field in fields(cls)
            )
        )

    def at(self, places: Sequence[int]) -> Outcomes:
        """The samples at ``places``."""
        columns = (getattr(self, field.name) for field in fields(self))
        return Outcomes(*([column[place] for place in places] for column in columns))

    def with_at(self, places: Sequence[int], others: Outcomes) -> Outcomes:
        """These outcomes, with those of ``others`` at ``places``."""
        changed = self.at(range(len(self.labels)))
        for field in fields(self):
            column = getattr(changed, field.name)
            for place, value in zip(places, getattr(others, field.name), strict=True):
                column[place] = value
        return changed

    @property
    def ties(self) -> int:
        """How many are decided by less than float noise: another batch may tip them."""
        return sum(abs(margin) < TIE for margin in self.margins)

    @property
    def right(self) -> list[bool]:
        """Whether each sample is classified correctly."""
        return [name == "" for name in self.fell_to]

    def worst_with(self, other: Outcomes) -> Outcomes:
        """These outcomes, with those of ``other`` for samples robust here and not there."""
        pairs = list(zip(self.fell_to, other.fell_to, strict=True))
        taken = [not here and bool(there) for here, there in pairs]
        return Outcomes(
            self.sample_ids,
            self.labels,
            *(
                [theirs if take else ours for ours, theirs, take in zip(*columns, strict=True)]
                for columns in (
                    (self.predictions, other.predictions, taken),
                    (self.losses, other.losses, taken),
                    (self.margins, other.margins, taken),
                    (self.fell_to, other.fell_to, taken),
                )
            ),
        )

    def write(self, path: Path) -> None:
        """Write to a Parquet file with a hash of all values, whole or not at all."""
        found = pa.table(vars(self)).replace_schema_metadata({"sha256": self._digest()})
        with atomic_file(path) as temporary:
            pq.write_table(found, temporary)

    @classmethod
    def read(cls, path: Path) -> Outcomes | None:
        """Read back what :meth:`write` wrote; None where there is nothing whole."""
        try:
            found = pq.read_table(path)
            outcomes = cls(**found.to_pydict())
            whole = found.schema.metadata[b"sha256"] == outcomes._digest().encode()
        # KeyError, TypeError and ValueError, of UTF-8 too: of damaged names and metadata.
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
            return None
        return outcomes if whole else None

    def _digest(self) -> str:
        return hashlib.sha256(json.dumps(vars(self)).encode()).hexdigest()


@dataclass(frozen=True)
class Draw:
    """Which samples of one data set the later parts of an ensemble were run on, of all models.

    Attributes:
        stratum: N numbers, or None for samples on which no model stands the first part.
        parts: for how many of the later parts each of the N samples was drawn.
    """

    stratum: list[int | None]
    parts: list[int]


COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("model", "dataset", "split", "attack"), pa.string()),
    "eps": pa.float64(),
    "sample_id": pa.string(),
    **{"label": pa.int64(), "clean_prediction": pa.int64()},
    **{"clean_loss": pa.float64(), "clean_margin": pa.float64()},
    "adversarial_prediction": pa.int64(),
    **{"adversarial_loss": pa.float64(), "adversarial_margin": pa.float64()},
    "fell_to": pa.string(),
    **{"stratum": pa.int32(), "drawn_parts": pa.int32()},
    "key": pa.string(),
}
"""Of ``outcomes.parquet``, one line a sample, attack and model."""


def table(row: Row, clean: Outcomes, after: Outcomes, draw: Draw | None = None) -> pa.Table:
    """The rows of ``outcomes.parquet`` behind one row of the results."""
    same = {key: getattr(row, key) for key in ("model", "dataset", "split", "attack", "eps")}
    nothing = [None] * row.n
    return pa.table(
        {
            **{key: [value] * row.n for key, value in same.items()},
            "sample_id": clean.sample_ids,
            "label": clean.labels,
            "clean_prediction": clean.predictions,
            "clean_loss": clean.losses,
            "clean_margin": clean.margins,
            "adversarial_prediction": after.predictions,
            "adversarial_loss": after.losses,
            "adversarial_margin": after.margins,
            "fell_to": after.fell_to,
            "stratum": draw.stratum if draw else nothing,
            "drawn_parts": draw.parts if draw else nothing,
            "key": [row.key] * row.n,
        },
        schema=pa.schema(list(COLUMNS.items())),
    )
