"""Further draws of a randomised defence, by which its images are judged.

Its answer to an image is that of one draw, and an attack that keeps its best iterate keeps lucky
draws. So each sample's attack is chosen on one set of draws, as the one that leaves fewest of them
right, and judged by its mean accuracy over others, which had no part in it; the clean images are
judged by the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from zsrobust.data.batch import Batch
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.files import atomic_file

CHOOSING, JUDGING = 2_000_000, 3_000_000
"""Where the keys begin of the draws that attacks are chosen by, and of those they are judged by."""


@dataclass(frozen=True)
class Draws:
    """How many draws of a randomised defence are right, of samples under one attack.

    Attributes:
        sample_ids: N ids.
        choosing, judging: for each, the share of draws of either set that are right.
    """

    sample_ids: list[str]
    choosing: list[float]
    judging: list[float]

    def write(self, path: Path) -> None:
        """Write to a Parquet file, whole or not at all."""
        with atomic_file(path) as temporary:
            pq.write_table(pa.table(vars(self)), temporary)

    @classmethod
    def read(cls, path: Path) -> Draws:
        """Read back what :meth:`write` wrote."""
        return cls(**pq.read_table(path).to_pydict())

    @classmethod
    def joined(cls, parts: Sequence[Draws]) -> Draws:
        """The samples of all ``parts``, in order."""
        return cls(
            *([one for part in parts for one in vars(part)[key]] for key in cls.__annotations__)
        )

    def of(self, sample_ids: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both shares of these samples, (N,) each."""
        places = {name: at for at, name in enumerate(self.sample_ids)}
        order = [places[name] for name in sample_ids]
        return np.array(self.choosing)[order], np.array(self.judging)[order]


class Judge:
    """Counts the draws that are right, while attacks show their images.

    Of several images of one sample, as of the parts of an ensemble, the one that most of the
    choosing draws get wrong counts.

    Args:
        classifier: behind a randomised defence.
        draws: how many of either set.
    """

    def __init__(self, classifier: ZeroShotClassifier, draws: int) -> None:
        self._sets = [
            [classifier.redrawn(first + number) for number in range(draws)]
            for first in (CHOOSING, JUDGING)
        ]
        self._found: dict[str, tuple[float, float]] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch, images: Tensor) -> None:
        """Judge ``images`` (N, 3, H, W) of the samples of ``batch``."""
        choosing, judging = (
            torch.stack([one(images).argmax(-1) == batch.labels for one in copies])
            .double()
            .mean(0)
            .tolist()
            for copies in self._sets
        )
        for sample_id, chosen, judged in zip(batch.sample_ids, choosing, judging, strict=True):
            known = self._found.get(sample_id)
            if known is None or chosen < known[0]:
                self._found[sample_id] = chosen, judged

    @property
    def draws(self) -> Draws:
        """Of the samples seen so far."""
        choosing, judging = zip(*self._found.values(), strict=True) if self._found else ((), ())
        return Draws(list(self._found), list(choosing), list(judging))
