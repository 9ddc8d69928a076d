"""Published numbers next to ours, and how the protocols differ."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import PurePath
from statistics import fmean
from typing import Any

from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.results import Results, Row
from zsrobust.models.zoo import Entry, entries
from zsrobust.utils.units import Eps

FIELDS = (
    *("source", "finetuned_on", "backbone", "method", "attack", "eps_255", "metric"),
    *("attack_as_released", "logit_scale", "precision", "n", "note"),
)


@dataclass(frozen=True)
class Published:
    """One row of a printed table.

    Attributes:
        source: paper and table.
        finetuned_on, backbone, method: of the model; the method ``CLIP`` is not fine-tuned.
        attack: ``none`` for clean accuracy, else its name.
        eps_255: L-inf radius in pixel levels, as printed; ``mean(1;2;4)`` for a mean over three.
        metric: ``clean`` or ``robust``.
        attack_as_released: the attack as the paper's text or code has it.
        logit_scale, precision, n: of the evaluation, as far as known.
        note: what else a reader should know.
        accuracies: in [0, 1] by the name of the data set as the paper writes it.
    """

    source: str
    finetuned_on: str
    backbone: str
    method: str
    attack: str
    eps_255: str
    metric: str
    attack_as_released: str
    logit_scale: str
    precision: str
    n: str
    note: str
    accuracies: dict[str, float]


@dataclass(frozen=True)
class PublishedMean:
    """An average that is printed without the accuracies that it is of.

    Attributes:
        row: all that is known of it; its ``accuracies`` are empty.
        over: the data sets, as the source writes them.
        accuracy: in [0, 1].
    """

    row: Published
    over: tuple[str, ...]
    accuracy: float


@dataclass(frozen=True)
class PublishedMatch:
    """One of our accuracies and one published.

    Attributes:
        ours: our row.
        clean: whether its clean accuracy is meant, or its robust one.
        published: the published row.
        accuracy: what that row says of this data set, in [0, 1].
        differs: a sentence for each known difference of the protocols.
    """

    ours: Row
    clean: bool
    published: Published
    accuracy: float
    differs: tuple[str, ...]


def load_published() -> list[Published]:
    """All published rows that come with the package, in ``published_results.csv``."""
    rows = _read("published_results.csv")
    return [
        Published(
            **{key: row[key] for key in FIELDS},
            accuracies={
                name: float(value) / 100
                for name, value in row.items()
                if name not in FIELDS and value
            },
        )
        for row in rows
    ]


def load_means() -> list[PublishedMean]:
    """The averages of ``published_averages.csv``, and those that models of the zoo claim."""
    means = [
        PublishedMean(
            Published(**{key: row[key] for key in FIELDS}, accuracies={}),
            tuple(row["over"].split(";")),
            float(row["average"]) / 100,
        )
        for row in _read("published_averages.csv")
    ]
    return means + [mean for entry in entries().values() for mean in _claimed(entry)]


def _claimed(entry: Entry) -> Iterator[PublishedMean]:
    if entry.claims is None:
        return
    claims = entry.claims
    architecture, _, tag = entry.base.rpartition("/")
    for eps, value in {"0": claims.clean, **claims.robust}.items():
        row = Published(
            source=claims.source,
            finetuned_on=", ".join(entry.trained_on),
            backbone=architecture if tag == "openai" else entry.base,
            method=entry.label,
            attack="none" if eps == "0" else "autoattack",
            eps_255=eps.partition("/")[0],
            metric="clean" if eps == "0" else "robust",
            attack_as_released="" if eps == "0" else claims.attack,
            logit_scale="100",
            precision="not stated",
            n="all test images" if eps == "0" else "1,000 of each set",
            note="",
            accuracies={},
        )
        yield PublishedMean(row, claims.over, value / 100)


def match_published(results: Results) -> list[PublishedMatch]:
    """For each accuracy of ``results``, the published ones of the same set, attack kind and eps.

    Sets match by name, whatever its case and punctuation: ``tiny-imagenet`` is TinyImageNet. A
    clean accuracy is shown once a model and set. Attacks match by kind, so that ``pgd-10`` is
    next to ``pgd-100``; all published attacks are L-inf. What no published row records, such as the
    attack resolution, cannot be told to differ. Averages come last: ours over the very sets that a
    published average is of.
    """
    published = load_published()
    once = {(row.dataset, row.split, row.model): row for row in reversed(results.rows)}
    ours = [(row, True) for row in reversed(once.values())]
    ours += [(row, False) for row in results.rows]
    of_sets = [
        PublishedMatch(row, clean, printed, accuracy, _differs(results, row, clean, printed))
        for row, clean in ours
        for printed in published
        if printed.metric == ("clean" if clean else "robust")
        if clean or _same_attack(row, printed)
        for name, accuracy in printed.accuracies.items()
        if _plain(name) == _plain(row.dataset)
    ]
    return [*of_sets, *_match_means(results)]


def authors_print(results: Results) -> list[str]:
    """A sentence for each model of the zoo in ``results`` of which its authors print accuracies."""
    known = [entries().get(model) for model in results.protocol["models"]]
    return [
        f"{entry.name}: its authors print {entry.claims} ({entry.claims.attack}), in "
        f"{entry.claims.source}"
        for entry in known
        if entry and entry.claims
    ]


def _read(name: str) -> list[dict[str, str]]:
    file = resources.files("zsrobust.evaluation.comparison").joinpath(name)
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _same_attack(row: Row, printed: Published) -> bool:
    # A mean over radii is no single radius.
    if row.norm != "linf" or not printed.eps_255.isdigit():
        return False
    same_eps = abs(255 * row.eps - int(printed.eps_255)) < 1e-6
    return same_eps and _kind(row.attack) == _kind(printed.attack)


def _kind(attack: str) -> str:
    """``pgd`` of ``pgd-10``; what papers call AutoAttack is often a few parts of it."""
    ensemble = "+" in attack and ("apgd-" in attack or "autoattack" in attack)
    return "autoattack" if ensemble else attack.split("-")[0]


def _differs(results: Results, row: Row, clean: bool, printed: Published) -> tuple[str, ...]:
    model = results.protocol["models"][row.model]
    ways = [
        ("backbone", printed.backbone, _backbone(model["source"], printed.backbone)),
        ("fine-tuned on", *_tuned_on(model, printed)),
        ("test-time defence", "none", model.get("defence", {}).get("name", "none")),
        ("samples", printed.n, f"{row.n} of {row.split}"),
    ]
    if not clean:
        attack = attack_of(results, row)
        scale = attack.get("logit_scale") or model["logit_scale"]
        ways += [
            ("attack", printed.attack_as_released, _describe_attack(attack)),
            # OpenAI's learned scale is 100 but for rounding.
            ("logit scale", printed.logit_scale, f"{scale:.4g}"),
            ("precision", printed.precision, results.protocol["precision"]),
            ("attacked", "all samples", "a part of them" if row.sampling else "all samples"),
        ]
    differences = [
        f"{what}: {there} there, {here} here" for what, there, here in ways if there != here
    ]
    return (
        (*differences, f"note on {printed.method}: {printed.note}")
        if printed.note
        else tuple(differences)
    )


def _backbone(source: str, printed: str) -> str:
    """``printed`` where ``source`` is OpenAI's CLIP of that architecture, else ``source``."""
    architecture, _, tag = source.rpartition("/")
    same = _plain(architecture.removesuffix("-quickgelu")) == _plain(printed)
    return printed if same and tag == "openai" else source


def _tuned_on(model: dict[str, Any], printed: Published) -> tuple[str, str]:
    there = "nothing" if printed.method == "CLIP" else printed.finetuned_on
    # Defended weights were trained on what they were trained on before.
    if re.sub(r"^\w+\(", "", model["method"]).startswith("original"):
        return there, "not recorded" if "@" in model["source"] else "nothing"
    # Sets are recorded by name and by place; a place means nothing to a reader.
    names = [name for name in model["seen"] if not PurePath(name).is_absolute()]
    here = ", ".join(names) or "sets that are not recorded"
    return there, there if _plain(here) == _plain(there) else here


def _describe_attack(attack: dict[str, Any]) -> str:
    """As the published rows write it, so that equal attacks are equal text."""
    if attack.get("loss") != "ce" or "step_size" not in attack:
        return str(attack["name"])
    start = " random start" if attack["random_start"] else ""
    restarts = f", {attack['restarts']} restarts" if attack["restarts"] > 1 else ""
    return f"PGD {attack['steps']} steps of {Eps(attack['step_size'])}{start}{restarts}"


def _match_means(results: Results) -> Iterator[PublishedMatch]:
    """Averages of ours over the very sets that a published one is of, next to it."""
    means = load_means()
    groups: dict[tuple[str, str, float], dict[str, Row]] = {}
    for row in results.rows:
        group = groups.setdefault((row.model, f"{row.attack} {row.norm}", row.eps), {})
        group.setdefault(_plain(row.dataset), row)
    for over in dict.fromkeys(mean.over for mean in means):
        with_clean: set[str] = set()
        for group in groups.values():
            rows = [group.get(_plain(name)) for name in over]
            found = [row for row in rows if row is not None]
            if len(found) < len(over):
                continue
            ours = replace(
                found[0],
                dataset=f"average of {len(found)}",
                n=sum(row.n for row in found),
                clean_acc=fmean(row.clean_acc for row in found),
                robust_acc=fmean(row.robust_acc for row in found),
            )
            # Clean accuracy does not depend on the attack.
            for clean in (False,) if ours.model in with_clean else (True, False):
                for mean in means:
                    same = mean.row.metric == ("clean" if clean else "robust")
                    if mean.over == over and same and (clean or _same_attack(ours, mean.row)):
                        differs = _differs(results, ours, clean, mean.row)
                        yield PublishedMatch(ours, clean, mean.row, mean.accuracy, differs)
            with_clean.add(ours.model)
