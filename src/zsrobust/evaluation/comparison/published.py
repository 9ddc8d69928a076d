"""Published numbers next to ours, and how the protocols differ."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Any

from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.results import Results, Row
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
    file = resources.files("zsrobust.evaluation.comparison").joinpath("published_results.csv")
    rows = csv.DictReader(file.read_text("utf-8").splitlines())
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


def match_published(results: Results) -> list[PublishedMatch]:
    """For each accuracy of ``results``, the published ones of the same set, attack kind and eps.

    Sets match by name, whatever its case and punctuation: ``tiny-imagenet`` is TinyImageNet. A
    clean accuracy is shown once a model and set. Attacks match by kind, so that ``pgd-10`` is
    next to ``pgd-100``; all published attacks are L-inf. What no published row records, such as the
    attack resolution, cannot be told to differ.
    """
    published = load_published()
    once = {(row.dataset, row.split, row.model): row for row in reversed(results.rows)}
    ours = [(row, True) for row in reversed(once.values())]
    ours += [(row, False) for row in results.rows]
    return [
        PublishedMatch(row, clean, printed, accuracy, _differs(results, row, clean, printed))
        for row, clean in ours
        for printed in published
        if printed.metric == ("clean" if clean else "robust")
        if clean or _same_attack(row, printed)
        for name, accuracy in printed.accuracies.items()
        if _plain(name) == _plain(row.dataset)
    ]


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
    if model["method"].removeprefix("ttc(").startswith("original"):
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
