"""The rows of results from the outcomes of their samples, and what outcomes cannot be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsrobust.data.split import keyed_order
from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.outcomes import TIE
from zsrobust.evaluation.results import Results, Row, Sampling
from zsrobust.evaluation.statistics import count_predictions
from zsrobust.evaluation.two_phase.run import with_estimate
from zsrobust.evaluation.two_phase.sample import ESTIMATOR

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """The N samples behind one row, in order of their ids; fields as in ``outcomes.parquet``.

    Attributes:
        row: the row.
        attack: what the protocol says of its attack.
        classes: names of the C classes.
        stratum: N numbers, nan where no model stands the first part, or nothing was drawn.
        drawn: N numbers of later parts.
    """

    row: Row
    attack: Mapping[str, Any]
    classes: Sequence[str]
    ids: list[str]
    labels: Numbers
    clean: Numbers
    clean_loss: Numbers
    clean_margin: Numbers
    after: Numbers
    loss: Numbers
    margin: Numbers
    fell_to: Numbers
    stratum: Numbers
    drawn: Numbers

    @classmethod
    def of(cls, run: EvaluatedRun, row: Row) -> Samples:
        """Those that ``run`` holds.

        Raises:
            RequestError: if they are not as many as the row counts.
        """
        found = run.columns(row)
        keys = (
            *("label", "clean_prediction", "clean_loss", "clean_margin"),
            *("adversarial_prediction", "adversarial_loss", "adversarial_margin", "fell_to"),
        )
        drawn = (np.array(found[key], dtype=float) for key in ("stratum", "drawn_parts"))
        return cls(
            row,
            attack_of(run.results, row),
            run.results.protocol["data"][row.dataset]["class_names"],
            found["sample_id"],
            *(np.array(found[key]) for key in keys),
            *drawn,
        )

    @property
    def parts(self) -> list[str]:
        """Names of the attack's parts; of none where it is no ensemble."""
        return [part["name"] for part in self.attack.get("parts", ())]

    @property
    def standing(self) -> Numbers:
        """Whether each sample is right on the clean image and on the adversarial one, (N,)."""
        return np.asarray((self.clean == self.labels) & (self.after == self.labels))

    def counted(self) -> Row:
        """The row as the counts give it; what they do not decide is the row's own."""
        n = len(self.ids)
        standing, after_part = int((self.clean == self.labels).sum()), {}
        clean = standing
        for part in self.parts:
            standing -= int((self.fell_to == part).sum())
            after_part[part] = standing / n
        labels, predictions = (
            np.bincount(found, minlength=len(self.classes)).tolist()
            for found in (self.labels, self.clean)
        )
        margins = np.concatenate([self.clean_margin, self.margin])
        figures: dict[str, Any] = {
            **vars(self.row),
            **count_predictions(labels, predictions, self.classes),
            "ties": int((np.abs(margins) < TIE).sum()),
            "after_part": after_part,
            "n": n,
        }
        for key in ("clean_acc", "robust_acc", "ci95_clean", "ci95_robust"):
            del figures[key]
        return Row.counted(clean=clean, robust=int(self.standing.sum()), **figures)


def recomputed(run: EvaluatedRun, samples: Sequence[Samples]) -> Results:
    """The results with every row as the outcomes give it.

    Raises:
        RequestError: if the outcomes are not those of the rows.
    """
    rows = []
    for one in samples:
        row = one.counted()
        if row.sampling is not None:
            of_design = _of_design(one, samples)
            strata = run.strata([other.row for other in of_design])
            place = next(at for at, other in enumerate(of_design) if other is one)
            drawn = [list(stratum.tested) for stratum in strata]
            text = json.dumps([[other.row.key for other in of_design], drawn])
            mine = [stratum for stratum in strata if stratum.stands[place]]
            sampling = Sampling(
                estimator=ESTIMATOR,
                interval=run.results.protocol["two_phase"]["interval"],
                seed=run.results.protocol["seed"],
                design=hashlib.sha256(text.encode()).hexdigest()[:16],
                standing=sum(stratum.size for stratum in mine),
                tested={
                    part: sum(stratum.tested[at] for stratum in mine)
                    for at, part in enumerate(one.parts[1:])
                },
            )
            row = with_estimate(replace(row, sampling=sampling), strata, place, one.parts)
        rows.append(row)
    return replace(run.results, rows=rows)


def impossible(samples: Sequence[Samples]) -> Iterator[str]:
    """Sentences on outcomes that no evaluation gives, whatever the model."""
    for one in samples:
        for what, which in _impossible(one):
            if which.any():
                first = one.ids[int(np.flatnonzero(which)[0])]
                yield f"{where(one.row)}: {int(which.sum())} samples {what}, first {first!r}"
        if len(set(one.ids)) < len(one.ids):
            yield f"{where(one.row)}: a sample is there twice"
    for one, other in _pairs(samples):
        yield from _disagree(one, other)


def _impossible(one: Samples) -> Iterator[tuple[str, Numbers]]:
    classes = len(one.classes)
    right, after_right = one.clean == one.labels, one.after == one.labels
    for name, found in (
        ("label", one.labels),
        ("prediction", one.clean),
        ("prediction", one.after),
    ):
        yield f"have a {name} that is none of {classes} classes", (found < 0) | (found >= classes)
    for stage, loss, margin, was in (
        ("clean", one.clean_loss, one.clean_margin, right),
        ("adversarial", one.loss, one.margin, after_right),
    ):
        yield f"have no {stage} loss or margin", np.isnan(loss) | np.isnan(margin)
        yield (
            f"have a {stage} margin that contradicts the prediction",
            ((margin > 0) & ~was) | ((margin < 0) & was),
        )
        yield f"have a {stage} loss that contradicts the margin", _loss_off(loss, margin, classes)
    fell = np.isin(one.fell_to, one.parts or [one.row.attack])
    yield "fell to an attack that was not run", ~fell & ~np.isin(one.fell_to, ["", "clean"])
    yield (
        "are counted as wrong before the attack, against the prediction",
        ((one.fell_to == "clean") == right),
    )
    yield (
        "are counted as robust, against the prediction",
        (one.fell_to == "") != (right & after_right),
    )
    changed = (one.after != one.clean) | (one.loss != one.clean_loss)
    yield "were wrong before and attacked", ~right & changed
    if one.row.sampling is None:
        yield (
            "were drawn, where every sample is attacked",
            ~(np.isnan(one.stratum) & np.isnan(one.drawn)),
        )
    else:
        yield from _impossible_draw(one)


def _impossible_draw(one: Samples) -> Iterator[tuple[str, Numbers]]:
    later = one.parts[1:]
    sampling = one.row.sampling
    assert sampling is not None
    reached = np.array([later.index(name) + 1 if name in later else 0 for name in one.fell_to])
    yield "have no number of later parts", np.isnan(one.drawn)
    yield "fell to a part that they were not drawn for", reached > one.drawn
    stands = (one.fell_to == "") | (reached > 0)
    yield "stand the first part and are in no stratum", stands & np.isnan(one.stratum)
    # The order in which samples are drawn is the seed's and not the sender's.
    order = np.array(keyed_order(one.ids, sampling.seed, ESTIMATOR))
    early = np.zeros(len(one.ids), dtype=bool)
    for number in np.unique(one.stratum[~np.isnan(one.stratum)]):
        places = order[one.stratum[order] == number]
        early[places[1:]] = one.drawn[places[1:]] > one.drawn[places[:-1]]
    yield f"were drawn out of the order of seed {sampling.seed}", early


def _loss_off(loss: Numbers, margin: Numbers, classes: int) -> Numbers:
    """Where a cross-entropy is not between what a margin allows at the least and at the most."""
    with np.errstate(all="ignore"):
        least = np.logaddexp(0, -margin)
        most = np.logaddexp(0, np.log(max(1, classes - 1)) - margin)
        slack = 1e-3 + 1e-4 * np.abs(margin)
        off = (loss < least - slack) | (loss > most + slack)
    return np.asarray(off & np.isfinite(loss) & np.isfinite(margin))


def _pairs(samples: Sequence[Samples]) -> Iterator[tuple[Samples, Samples]]:
    """Every row of a data set with the first one of it, and each of a model with its first."""
    first: dict[tuple[str, ...], Samples] = {}
    for one in samples:
        row = one.row
        for key in ((row.dataset, row.split), (row.dataset, row.split, row.model)):
            other = first.setdefault(key, one)
            if other is not one:
                yield other, one
    for one in samples:
        for other in samples:
            same = ("model", "dataset", "split", "norm", "eps")
            if other.row.attack in one.parts and all(
                getattr(one.row, key) == getattr(other.row, key) for key in same
            ):
                yield one, other


def _disagree(one: Samples, other: Samples) -> Iterator[str]:
    """What two rows of one data set say differently."""
    both = f"{where(one.row)} and {where(other.row)}"
    if one.ids != other.ids:
        yield f"{both} are of other samples"
        return
    if (one.labels != other.labels).any():
        yield f"{both} have other labels"
    if one.row.model != other.row.model:
        return
    for key in ("clean", "clean_loss", "clean_margin"):
        if (getattr(one, key) != getattr(other, key)).any():
            yield f"{both} have other outcomes on clean images"
            return
    alone = other.row.attack in one.parts and one.row.eps == other.row.eps
    if alone and one.row.sampling is None and (one.standing & ~other.standing).any():
        yield f"{both}: samples stand the ensemble that fall to its part"


def _of_design(one: Samples, samples: Sequence[Samples]) -> list[Samples]:
    """The rows of all models that were estimated on the same drawn samples."""
    same = ("dataset", "split", "attack", "norm", "eps")
    return [
        other
        for other in samples
        if other.row.sampling is not None
        and all(getattr(other.row, key) == getattr(one.row, key) for key in same)
    ]


def where(row: Row) -> str:
    """Model, data set and attack as text."""
    return f"{row.model} on {row.dataset}, {row.condition}"
