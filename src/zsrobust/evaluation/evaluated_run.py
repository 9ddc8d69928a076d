"""A finished evaluation as it lies on disk: results, and the outcome of every sample."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.statistics import Outcome
from zsrobust.evaluation.two_phase.estimate import Stratum
from zsrobust.utils.errors import RequestError

OF_A_ROW = (
    *("dataset", "split", "model", "method", "seen", "resolution"),
    *("attack", "norm", "eps", "key", "note", "adaptive"),
)
"""Of :class:`Row`, what some of its samples have in common with all."""


@dataclass(frozen=True)
class EvaluatedRun:
    """A run folder of ``evaluate``.

    Attributes:
        folder: where it lies.
        results: what ``results.json`` holds.
        outcomes: what ``outcomes.parquet`` holds, a line a model, set, attack and sample.
    """

    folder: Path
    results: Results
    outcomes: pa.Table

    @classmethod
    def read(cls, folder: Path) -> EvaluatedRun:
        """Read both files.

        Raises:
            RequestError: if one is missing or damaged.
        """
        results = Results.read(folder / "results.json")
        try:
            return cls(folder, results, pq.read_table(folder / "outcomes.parquet"))
        except (OSError, pa.ArrowInvalid) as error:
            raise RequestError(
                f"{folder / 'outcomes.parquet'} is missing or damaged: {error}"
            ) from None

    @property
    def models(self) -> list[str]:
        """All models, in the order of the results."""
        return list(dict.fromkeys(row.model for row in self.results.rows))

    @property
    def tuned(self) -> list[str]:
        """The models that were fine-tuned; all, where none was."""
        settings = self.results.protocol["models"]
        tuned = [name for name in self.models if settings[name]["method"] != "original"]
        return tuned or self.models

    def predictions(
        self, row: Row
    ) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The N samples behind ``row``, in order of their ids.

        Returns:
            Ids, labels (N,), and predictions before and after the attack (N,), as class indices.

        Raises:
            RequestError: if they are not as many as the row counts.
        """
        keys = ("label", "clean_prediction", "adversarial_prediction")
        part = self.columns(row, ("sample_id", *keys))
        labels, clean, after = (np.array(part[key], dtype=np.int64) for key in keys)
        return part["sample_id"], labels, clean, after

    def correct(self, row: Row) -> tuple[Outcome, Outcome]:
        """What :meth:`right` returns without the samples; kept, for further averages over them.

        Raises:
            RequestError: if they are not as many as the row counts.
        """
        place = row.model, row.dataset, row.split, row.attack, row.eps, row.key
        if place not in self._kept:
            self._kept[place] = self.right(row)[1:]
        return self._kept[place]

    def right(self, row: Row) -> tuple[list[str], Outcome, Outcome]:
        """The N samples behind ``row``, by id and label as text, in order of their ids.

        Returns:
            The samples, whether each is right before the attack (N,), and before and after (N,).

        Raises:
            RequestError: if they are not as many as the row counts.
        """
        ids, labels, before, after = self.predictions(row)
        samples = [f"{name} ({label})" for name, label in zip(ids, labels, strict=True)]
        clean = before == labels
        return samples, clean, clean & (after == labels)

    def strata(self, rows: Sequence[Row]) -> tuple[Stratum, ...]:
        """The strata behind ``rows`` of one design, estimated in two phases on one data set.

        Raises:
            RequestError: if the outcomes are not those of the rows.
        """
        keys = ("stratum", "drawn_parts", "fell_to")
        found = [self.columns(row, keys) for row in rows]
        sampling = rows[0].sampling
        assert sampling is not None
        parts = list(sampling.tested)
        stratum, drawn = (np.array(found[0][key], dtype=float) for key in keys[:2])
        fell_at = np.array(
            [
                [parts.index(name) if name in parts else len(parts) for name in part["fell_to"]]
                for part in found
            ]
        )
        stands = np.array([[not n or n in parts for n in part["fell_to"]] for part in found])
        strata = []
        for number in np.unique(stratum[~np.isnan(stratum)]):
            places = np.flatnonzero(stratum == number)
            places = places[np.argsort(-drawn[places], kind="stable")]
            # A stratum on which none of these models stands is of other models.
            if not stands[:, places[0]].any():
                continue
            tested = tuple(int((drawn[places] > part).sum()) for part in range(len(parts)))
            pattern = tuple(bool(stand) for stand in stands[:, places[0]])
            strata.append(Stratum(pattern, len(places), tested, fell_at[:, places[: tested[0]]]))
        return tuple(strata)

    def without_classes_of(self, dataset: str) -> EvaluatedRun:
        """The same without the samples of the classes that ``dataset`` has, by their names.

        Of two classes one is the other where its name ends in the whole other: a "tabby cat" is a
        "cat". Accuracies that are estimated from a part of the samples are left out, and so are
        sets of which nothing is left.

        Raises:
            RequestError: if ``dataset`` is not in the evaluation.
        """
        names: dict[str, list[str]] = {
            name: about["class_names"] for name, about in self.results.protocol["data"].items()
        }
        if dataset not in names:
            raise RequestError(f"{self.folder} holds no result on {dataset}")
        has = [_words(name) for name in names[dataset]]
        left = {
            name: [at for at, one in enumerate(names[name]) if not _is_one_of(_words(one), has)]
            for name in names
        }
        keep = reduce(
            or_,
            (
                (pc.field("dataset") == name) & pc.field("label").isin(labels)
                for name, labels in left.items()
            ),
        )
        kept = replace(self, outcomes=self.outcomes.filter(keep))
        rows = []
        for row in self.results.rows:
            if row.sampling is not None:
                continue
            if n := len(kept._samples(row)):
                _, clean, robust = kept.right(replace(row, n=n))
                same = {key: getattr(row, key) for key in OF_A_ROW}
                counts = {"clean": int(clean.sum()), "robust": int(robust.sum())}
                rows.append(Row.counted(n=n, **counts, **same))
        return replace(kept, results=replace(self.results, rows=rows))

    def columns(self, row: Row, names: Sequence[str] | None = None) -> dict[str, list[Any]]:
        """The columns ``names``, or all, of the N samples behind ``row``, in order of their ids.

        Raises:
            RequestError: if they are not as many as the row counts.
        """
        part = self._samples(row)
        if len(part) != row.n:
            raise RequestError(
                f"{self.folder / 'outcomes.parquet'} holds {len(part)} samples of "
                f"{row.model} on {row.dataset}, results.json {row.n}: evaluate again"
            )
        found: dict[str, list[Any]] = part.select(names or part.column_names).to_pydict()
        return found

    def _samples(self, row: Row) -> pa.Table:
        """The outcomes behind ``row``, in order of their ids."""
        keys = ("dataset", "split", "attack", "eps", "key")
        fits = reduce(and_, (pc.field(key) == getattr(row, key) for key in keys))
        return self._by_model[row.model].filter(fits).sort_by("sample_id")

    @cached_property
    def _kept(self) -> dict[tuple[Any, ...], tuple[Outcome, Outcome]]:
        """What :meth:`correct` found."""
        return {}

    @cached_property
    def _by_model(self) -> dict[str, pa.Table]:
        """The outcomes of each model, so that those of all are not searched for every row."""
        return {name: self.outcomes.filter(pc.field("model") == name) for name in self.models}


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.casefold())


def _is_one_of(words: list[str], others: Sequence[list[str]]) -> bool:
    """Whether one of the names ends in the other, or the other way round."""
    return any(
        one[-len(words) :] == words or words[-len(one) :] == one for one in others if words and one
    )
