"""Results as they lie in ``results.json``: everything a table or a figure is made from."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zsrobust.evaluation.averages import Average, Averaged
from zsrobust.evaluation.defences import DefenceRow
from zsrobust.evaluation.probes import BlackBoxProbe
from zsrobust.evaluation.row_table import RowTable
from zsrobust.evaluation.statistics import (
    Interval,
    average_interval,
    weighted_mean,
    wilson_interval,
)
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text
from zsrobust.utils.units import format_radius


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name, such as ``zero gradients``.
        passed: whether nothing speaks against the numbers.
        sentence: what was found, as a sentence with the numbers.
        figures: the numbers by name; shares and accuracies in [0, 1].
        explanation: what it means, and what to do about it.
        skipped: whether it could not be made; the sentence says why.
    """

    check: str
    passed: bool
    sentence: str
    figures: dict[str, float]
    explanation: str
    skipped: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        return "skipped" if self.skipped else "passed" if self.passed else "FAILED"


PROJECTED = "attack within its radius"
"""The check of what an attack returned before it was projected, which outcomes do not say."""


def failed(findings: list[Finding]) -> list[Finding]:
    """Those that did not pass."""
    return [finding for finding in findings if not finding.passed]


SCHEMA = 1


@dataclass(frozen=True)
class Sampling:
    """How a robust accuracy was estimated from a part of the samples.

    Attributes:
        estimator: ``two-phase``: the ensemble's first part ran on all samples, the later ones on a
            random part of those that stand it; see :mod:`zsrobust.evaluation.two_phase`.
        interval: what the 95 % interval is of: the ``population`` that the images come from, or
            these ``images``.
        seed: of the random part.
        design: hash of strata and random numbers; accuracies of one design are paired.
        standing: samples that stand the first part.
        tested: by later part, how many of them were drawn for it.
    """

    estimator: str
    interval: str
    seed: int
    design: str
    standing: int
    tested: dict[str, int]


@dataclass(frozen=True)
class Row:
    """One model on one data set under one attack.

    Attributes:
        dataset, split: the data.
        model: the name it was loaded by.
        method: how its weights came about; ``original`` where it was not fine-tuned.
        seen: whether it was pre-trained or fine-tuned on this data set, by name or by place.
        resolution: side in pixels of the images that were attacked.
        attack, norm: the attack's name, and the norm of its threat model.
        eps: radius, as a fraction of the pixel range.
        n: samples.
        clean_acc, robust_acc: in [0, 1]; a robust sample is right before the attack and after.
        ci95_clean, ci95_robust: Wilson intervals.
        key: hash of all that decides the outcome, weights and sample ids included.
        note: what was changed in the attack for this set's number of classes; empty for nothing.
        zero_gradients: share of exactly zero entries in the cross-entropy's gradient at clean
            images that the model has right; nan where there were none, None where the model has no
            gradient.
        ties: samples decided by less than 1e-4 of a logit, before or after the attack: another
            batch size or device may tip them.
        after_part: of an ensemble, the robust accuracy once each part has run, in their order.
        adaptive: False where the model has a test-time defence and the images were made without.
        chance_acc, top_class, top_predicted, top_labelled: of the predictions on clean images, as
            in :class:`zsrobust.evaluation.checks.collapse.Counted`.
        sampling: how the robust accuracy was estimated; None where every sample was attacked.
    """

    dataset: str
    split: str
    model: str
    method: str
    seen: bool
    resolution: int
    attack: str
    norm: str
    eps: float
    n: int
    clean_acc: float
    robust_acc: float
    ci95_clean: Interval
    ci95_robust: Interval
    key: str
    note: str = ""
    zero_gradients: float | None = math.nan
    ties: int = 0
    after_part: dict[str, float] = field(default_factory=dict)
    adaptive: bool = True
    chance_acc: float = math.nan
    top_class: str = ""
    top_predicted: float = math.nan
    top_labelled: float = math.nan
    sampling: Sampling | None = None

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> Row:
        """From the types of JSON."""
        sampling = plain.get("sampling")
        return cls(**{**plain, "sampling": Sampling(**sampling) if sampling else None})

    @classmethod
    def counted(cls, *, n: int, clean: int, robust: int, **rest: Any) -> Row:
        """The row of ``clean`` and ``robust`` correct samples among ``n``."""
        return cls(
            n=n,
            clean_acc=clean / n,
            robust_acc=robust / n,
            ci95_clean=wilson_interval(clean, n),
            ci95_robust=wilson_interval(robust, n),
            **rest,
        )

    @property
    def condition(self) -> str:
        """Attack and radius, such as ``pgd-10 1/255``."""
        return f"{self.attack} {format_radius(self.norm, self.eps)}"

    def sentence(self) -> str:
        """The row as text, for progress."""
        return (
            f"{self.model} on {self.dataset} at {self.resolution} px: n {self.n}, "
            f"clean {self.clean_acc:.1%}, {self.condition} {self.robust_acc:.1%}"
        )


@dataclass(frozen=True)
class SanityReport:
    """What the sanity checks found of one model on samples of one data set, at one radius.

    Attributes:
        model, dataset, norm, eps: as in :class:`Row`.
        n: samples that were judged: those that the model has right.
        findings: of every check; none where ``refused`` says why.
        refused: why nothing could be checked; empty otherwise.
    """

    model: str
    dataset: str
    norm: str
    eps: float
    n: int
    findings: list[Finding]
    refused: str = ""


@dataclass(frozen=True, repr=False)
class Results(RowTable[Row]):
    """An evaluation: a sequence of its rows, printed as a table.

    Below it is a line for each check that failed or was skipped.

    Attributes:
        protocol: everything that changes a number.
        environment: versions and device.
        rows: the accuracies.
        findings: of the checks that results pass or fail by themselves.
        sanity: of the checks that attack the models anew, where they were asked for.
        probes: of each model on each data set, by attacks without gradients.
        defences: what is left of each test-time defence under all attacks.
    """

    protocol: dict[str, Any]
    environment: dict[str, Any]
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)
    sanity: list[SanityReport] = field(default_factory=list)
    probes: list[BlackBoxProbe] = field(default_factory=list)
    defences: list[DefenceRow] = field(default_factory=list)

    def __str__(self) -> str:
        notes = [
            f"{'note' if one.skipped else 'warning'}: {one.sentence}. {one.explanation}"
            for one in self.findings
            if one.skipped or not one.passed
        ]
        return "\n".join([super().__str__(), *notes])

    @property
    def averages(self) -> list[Average]:
        """Both averages of each model under each attack: over all sets, and over unseen ones.

        A set counts as unseen where no model of the evaluation has seen it, so that every
        model's average is over the same sets.
        """
        seen = {row.dataset for row in self.rows if row.seen}
        averages = []
        for rows in self._by_condition():
            unseen = [row for row in rows if row.dataset not in seen]
            averages.append(_average("all", rows))
            if unseen:
                averages.append(_average("unseen", unseen))
        return averages

    def averages_over(self, sets: Averaged) -> list[Average]:
        """The average of each model under each attack.

        Raises:
            RequestError: if there are no results on one of the sets.
        """
        return [_average(sets.name, sets.of(rows), sets) for rows in self._by_condition()]

    def _by_condition(self) -> Collection[list[Row]]:
        groups: dict[tuple[str, str, float], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.model, row.attack, row.eps), []).append(row)
        return groups.values()

    @property
    def shown_averages(self) -> list[Average]:
        """The averages that tables and figures show: of two that are equal, that of unseen sets."""
        seen = any(row.seen for row in self.rows)
        return [one for one in self.averages if seen or one.over == "unseen"]

    def as_dict(self) -> dict[str, Any]:
        """What ``results.json`` holds."""
        return {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "environment": self.environment,
            "results": [asdict(row) for row in self.rows],
            "averages": [asdict(average) for average in self.averages],
            "findings": [asdict(finding) for finding in self.findings],
            "sanity": [asdict(report) for report in self.sanity],
            "probes": [asdict(probe) for probe in self.probes],
            **({"defences": [asdict(row) for row in self.defences]} if self.defences else {}),
        }

    def write(self, path: Path) -> None:
        """Write ``results.json``, whole or not at all."""
        write_text(path, json.dumps(self.as_dict(), indent=1) + "\n")

    @classmethod
    def of_plain(cls, content: dict[str, Any]) -> Results:
        """From the types of JSON.

        Raises:
            KeyError, TypeError, AttributeError: if something is missing or of another type.
        """
        return cls(
            content["protocol"],
            content["environment"],
            [Row.of_plain(row) for row in content["results"]],
            _findings(content["findings"]),
            [
                SanityReport(**{**report, "findings": _findings(report["findings"])})
                for report in content["sanity"]
            ],
            [BlackBoxProbe.of_plain(probe) for probe in content["probes"]],
            [DefenceRow(**row) for row in content.get("defences", [])],
        )

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read ``results.json``.

        Raises:
            RequestError: if it is missing, damaged or of another schema.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise RequestError(f"{path} has schema {content['schema']}: this reads {SCHEMA}")
            return cls.of_plain(content)
        except FileNotFoundError:
            raise RequestError(
                f"{path.parent} has no {path.name}: name the folder of a finished zsrobust evaluate"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RequestError(f"{path} is damaged: {error}") from None


def _findings(plain: list[dict[str, Any]]) -> list[Finding]:
    return [Finding(**finding) for finding in plain]


def _average(over: str, rows: Sequence[Row], sets: Averaged | None = None) -> Average:
    clean, robust = [row.clean_acc for row in rows], [row.robust_acc for row in rows]
    weights = sets.weights if sets else [1.0] * len(rows)
    return Average(
        over=over,
        datasets=len(sets.entries) if sets else len(rows),
        changed=any(row.note for row in rows),
        model=rows[0].model,
        attack=rows[0].attack,
        norm=rows[0].norm,
        eps=rows[0].eps,
        clean_acc=weighted_mean(clean, weights),
        robust_acc=weighted_mean(robust, weights),
        ci95_clean=average_interval(clean, [row.ci95_clean for row in rows], weights),
        ci95_robust=average_interval(robust, [row.ci95_robust for row in rows], weights),
        adaptive=rows[0].adaptive,
        sampled=any(row.sampling for row in rows),
    )
