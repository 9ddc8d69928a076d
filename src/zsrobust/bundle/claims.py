"""What results say besides their figures: the rows' own protocol, published sets, attacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.attacks.registry import ENSEMBLES
from zsrobust.bundle.recompute import where
from zsrobust.data.published.sets import published_sets
from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.results import Results, Row
from zsrobust.utils.errors import RequestError

Verdict = Literal["contradiction", "unfit", "unchecked"]

_PARTS = {part for parts in ENSEMBLES.values() for part in parts.split("+")}
_FREE = ("threat", "seed", "chunk", "library")
"""What may differ from run to run; threat models are compared with the whole attack's."""


def misdescribed(results: Results) -> Iterator[str]:
    """Sentences on rows that say something else than the protocol does."""
    for row in results.rows:
        about, data = results.protocol["models"][row.model], results.protocol["data"][row.dataset]
        said = {
            "method": about["method"],
            "seen": not {row.dataset, data["origin"]}.isdisjoint(about["seen"]),
            "split": data["split"],
            "n": data["n"],
            "resolution": data[f"under {row.model}"]["attack_resolution"],
            "note": data["attack_notes"].get(row.attack, ""),
            "adaptive": "defence" not in about or _meets_defence(attack_of(results, row)),
        }
        for key, value in said.items():
            if getattr(row, key) != value:
                yield (
                    f"{where(row)}: the row says {key} {getattr(row, key)!r}, the protocol "
                    f"{value!r}"
                )
    named = {(row.model, row.dataset) for row in results.rows}
    for key, at in (("models", 0), ("data", 1)):
        for name in results.protocol[key]:
            if name not in {pair[at] for pair in named}:
                yield f"the protocol has {name} among its {key}, and no row is of it"


def unpublished(results: Results) -> Iterator[tuple[Verdict, str]]:
    """What a data set has other than the published one that it names, in a sentence.

    More than there is contradicts it. A part of it, not drawn by ``samples``, is another data set.
    """
    for name, data in results.protocol["data"].items():
        known = published_sets().get(data["origin"])
        if known is None:
            yield "unchecked", f"{name} is no published data set: nothing says what its images are"
            continue
        classes, n, split = len(data["class_names"]), data["n"] + data["skipped"], data["split"]
        published, of = known.counts.get(split), f"{known.title}'s split {split}"
        if published is None:
            sentence = f"{name} is not of a published split of {known.title}, but of {split!r}"
            yield "unchecked", sentence
            continue
        if classes > known.classes:
            yield "contradiction", f"{name} has {classes} classes, {known.title} {known.classes}"
        elif classes < known.classes:
            yield "unfit", f"{name} is {classes} of the {known.classes} classes of {known.title}"
        if n > published:
            yield "contradiction", f"{name} has {n} images, {of} {published}"
        elif n < published:
            drawn = n == results.protocol["samples"]
            verdict: Verdict = "unchecked" if drawn else "unfit"
            yield verdict, f"{name} is {n} of the {published} images of {of}"


def weakened(results: Results) -> Iterator[str]:
    """Sentences on attacks that do not have the parameters that their name stands for."""
    for row in results.rows:
        attack, at = attack_of(results, row), f"{row.attack} on {row.dataset}"
        parts = attack.get("parts", [attack])
        names = [part["name"] for part in parts]
        if row.attack in ENSEMBLES:
            expected = [part["name"] for part in _parts(row.attack, results, row)]
            if names != expected:
                yield f"{at} is {'+'.join(names)}, and not {'+'.join(expected)}"
        for part in parts:
            if part["threat"] != attack["threat"]:
                yield f"{at}: its part {part['name']} has another threat model"
            if part["name"] not in _PARTS:
                continue
            for published in _parts(part["name"], results, row):
                for key, value in published.items():
                    if key not in _FREE and part.get(key) != value:
                        yield (
                            f"{at}: {part['name']} has {key} {part.get(key)!r}, and the published "
                            f"attack {value!r}"
                        )


def inadequate(results: Results) -> Iterator[str]:
    """Sentences on models whose strongest attack is not AutoAttack or more, on some data set.

    Of each threat model: an attack with all parts of AutoAttack, as defined for the number of
    classes, that knows of the model's test-time defence.
    """
    weak: dict[tuple[str, str], dict[str, bool]] = {}
    for row in results.rows:
        radius = row.condition.removeprefix(f"{row.attack} ")
        parts = {part["name"] for part in attack_of(results, row).get("parts", ())}
        strong = row.adaptive and any(
            {part["name"] for part in _parts(name, results, row)} <= parts for name in ENSEMBLES
        )
        sets = weak.setdefault((row.model, radius), {})
        sets[row.dataset] = sets.get(row.dataset, True) and not strong
    for (model, radius), found in weak.items():
        if on := [dataset for dataset, is_weak in found.items() if is_weak]:
            yield (
                f"{model} at {radius} on {', '.join(on)}: no attack holds all parts of "
                "AutoAttack, so that its robust accuracy is an upper bound: evaluate with "
                "--attack autoattack"
            )


def unfit_request(request: Mapping[str, Any], results: Results) -> Iterator[str]:
    """Sentences on a request that is not that of the results; none where there is no request."""
    from zsrobust.reporting.commands import evaluate_command

    if not request:
        return
    for key in ("seed", "samples"):
        if request.get(key) != results.protocol[key]:
            yield f"the request has {key} {request.get(key)}, the results {results.protocol[key]}"
    if {row.norm for row in results.rows} != {request.get("norm")}:
        yield f"the request has the norm {request.get('norm')}, the results another"
    try:
        evaluate_command(dict(request), results.rows)
    except RequestError as error:
        yield str(error)


def _parts(name: str, results: Results, row: Row) -> list[dict[str, Any]]:
    """The descriptions of a published attack's parts, or its own, as defined for a row's set."""
    classes = len(results.protocol["data"][row.dataset]["class_names"])
    threat = ThreatModel(row.norm, row.eps)  # type: ignore[arg-type]
    attack, _ = make_attack(name, threat).for_classes(classes)
    found: dict[str, Any] = attack.describe() if attack is not None else {"parts": []}
    return list(found.get("parts", [found]))


def _meets_defence(attack: Mapping[str, Any]) -> bool:
    """Whether an attack was made through a test-time defence: none is made on an undefended one."""
    return "surrogate" not in attack or "defence" in attack["surrogate"]
