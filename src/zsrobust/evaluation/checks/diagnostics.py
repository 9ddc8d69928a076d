"""Checks of results by themselves: what cannot be true of a sound evaluation.

Each check takes :class:`Results` and returns a failed finding for every contradiction, one passed
finding if there was something to compare and nothing was wrong, and nothing if there was nothing
to compare. They read rows and protocol alone, so they cost nothing and run on old files too.

Sources: Carlini et al., "On evaluating adversarial robustness" (2019), sections 4 and 5; Athalye
et al., "Obfuscated gradients give a false sense of security" (ICML 2018), section 3.1; Tramer et
al., "On adaptive attacks to adversarial example defenses" (NeurIPS 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zsrobust.attacks.pgd import doubtful_lengths
from zsrobust.data.published.sets import SYNTHETIC
from zsrobust.evaluation.checks.attack_strength import (
    adaptive_attack_finds_more,
    attack_beats_noise,
    defences_are_attacked,
    ensemble_below_parts,
    falls_with_eps,
    parts_beat_black_box,
    undefended_falls,
    white_box_beats_black_box,
)
from zsrobust.evaluation.checks.black_box import answers_repeat, probe_goes_no_further
from zsrobust.evaluation.checks.collapse import has_not_collapsed
from zsrobust.evaluation.checks.row_groups import no_gradient, passed
from zsrobust.evaluation.results import Finding, Results, Row

ZERO_GRADIENTS_MOST = 0.5

Check = Callable[[Results], list[Finding]]


def diagnose(results: Results) -> list[Finding]:
    """The findings of every check on ``results``, those of :data:`CHECKS` in their order."""
    return [finding for check in CHECKS for finding in check(results)]


def runs_have_finished(results: Results) -> list[Finding]:
    """A fine-tuned model is what its run ended with, not what it had so far."""
    return [
        Finding(
            "runs have finished",
            False,
            f"{model} is of a fine-tuning at {about['unfinished']}",
            {},
            "These are numbers of what the run had so far, not of the model that it will end with: "
            "let it finish, and evaluate again.",
        )
        for model, about in results.protocol.get("models", {}).items()
        if about.get("unfinished")
    ]


def synthetic_sets(results: Results) -> list[str]:
    """The data sets whose images stand in for a published set's, as in a rehearsal."""
    return [
        name
        for name, about in results.protocol.get("data", {}).items()
        if any(SYNTHETIC in note for note in about.get("notes", ()))
    ]


def images_are_published(results: Results) -> list[Finding]:
    """Images of a published set are that set's own, not those of a rehearsal."""
    synthetic = synthetic_sets(results)
    return (
        [
            Finding(
                "images are the published ones",
                False,
                f"{len(synthetic)} data sets hold synthetic images in place of the published ones, "
                f"first {synthetic[0]}",
                {},
                "This is a rehearsal, and none of its numbers is a result.",
            )
        ]
        if synthetic
        else []
    )


def lengths_fit(results: Results) -> list[Finding]:
    """No radius is a speck of a grey level, no step leaps across the ball or falls short of it.

    Of attacks, and of defences that take steps; read from the protocol, before there are rows.
    """
    asked = list(_lengths(results.protocol))
    # Each once, however many attacks and data sets share it.
    doubts: dict[str, tuple[str, float, float]] = {}
    for name, norm, eps, step_size, steps in asked:
        if doubt := doubtful_lengths(norm, eps, step_size, steps):
            doubts.setdefault(doubt, (name, eps, step_size))
    return [
        Finding(
            "steps fit the radius",
            False,
            f"{name}: {doubt}",
            {"eps": eps, "step_size": step_size},
            "Lengths are fractions of the pixel range, 1/255 for one grey level; where no step "
            "size is given it is 2.5 eps / steps.",
        )
        for doubt, (name, eps, step_size) in doubts.items()
    ] or passed(
        "steps fit the radius",
        len(asked),
        "no step size is too large or too small for its radius",
    )


def gradients_are_there(results: Results) -> list[Finding]:
    """The cross-entropy's gradient is not exactly zero in most pixels: it gives a direction.

    A network of ReLUs has a few such pixels; where they are the most, logits saturate, or a step
    without a gradient lies before them. Not asked where classes tie: then there is none to follow.
    """
    tied = {(row.model, row.dataset) for row in results.rows if _ties_everywhere(row)}
    shares = {
        (row.model, row.dataset): row.zero_gradients
        for row in results.rows
        if row.zero_gradients is not None
        and not math.isnan(row.zero_gradients)
        and (row.model, row.dataset) not in tied
    }
    without = [(row.model, row.dataset) for row in results.rows if row.zero_gradients is None]
    skipped = [
        no_gradient("gradients are there", f"{model} on {dataset}")
        for model, dataset in dict.fromkeys(without)
    ]
    wrong = [
        Finding(
            "gradients are there",
            False,
            f"{model} on {dataset}: {share:.0%} of the gradient's entries are exactly zero",
            {"zero_gradients": share},
            "Attacks that follow this gradient hardly move the image, and the accuracy they leave "
            "means nothing. Attack at another logit scale or with a margin loss, and evaluate with "
            "`--sanity true` to see why.",
        )
        for (model, dataset), share in shares.items()
        if share > ZERO_GRADIENTS_MOST
    ]
    found = wrong or passed(
        "gradients are there", len(shares), "no model's gradient is mostly zero"
    )
    return [*found, *skipped]


def classes_are_told_apart(results: Results) -> list[Finding]:
    """The true class does not tie with another in as many cases as there are samples.

    Names that are one to the text side tie, and so do all classes of a model without an answer.
    """
    ties = {(row.model, row.dataset): row for row in results.rows if _ties_everywhere(row)}
    wrong = [
        Finding(
            "classes are told apart",
            False,
            f"{model} on {dataset}: the true class ties with another {row.ties} times in {row.n} "
            "samples, before or after the attack",
            {"ties": row.ties, "n": row.n},
            "The model cannot tell the classes apart, so its accuracy means nothing and no attack "
            "has a direction: check that the class names differ to its text side, and its weights.",
        )
        for (model, dataset), row in ties.items()
    ]
    compared = sum(row.ties > 0 for row in results.rows)
    return wrong or passed("classes are told apart", compared, "few answers are ties")


CHECKS: tuple[Check, ...] = (
    images_are_published,
    runs_have_finished,
    ensemble_below_parts,
    falls_with_eps,
    white_box_beats_black_box,
    parts_beat_black_box,
    classes_are_told_apart,
    gradients_are_there,
    attack_beats_noise,
    undefended_falls,
    defences_are_attacked,
    adaptive_attack_finds_more,
    has_not_collapsed,
    lengths_fit,
    probe_goes_no_further,
    answers_repeat,
)


def _lengths(protocol: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float, float]]:
    """Name, norm, radius, step size and number of steps of all that has a radius."""
    for data in protocol.get("data", {}).values():
        for attack in _and_parts(data.get("attacks", ())):
            norm, eps = attack["threat"]["norm"], attack["threat"]["eps"]
            if "step_size" in attack:
                yield attack["name"], norm, eps, attack["step_size"], attack["steps"]
            else:
                yield attack["name"], norm, eps, eps, math.inf
    for name, model in protocol.get("models", {}).items():
        if "step_size" in (defence := model.get("defence", {})):
            # It need not reach the edge of its ball.
            yield name, "linf", defence["eps"], defence["step_size"], math.inf


def _and_parts(attacks: Any) -> Iterator[Mapping[str, Any]]:
    """Those that say their threat model, and what they are made of."""
    for attack in attacks:
        if isinstance(attack, Mapping) and "threat" in attack:
            yield attack
            yield from _and_parts([*attack.get("parts", ()), attack.get("attack")])


def _ties_everywhere(row: Row) -> bool:
    """Whether ties, counted before and after the attack, are as many as the samples."""
    return row.ties >= row.n
