"""Attacks for sets of few classes: what is defined there, and what that leaves out."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from zsrobust.attacks.apgd_attack import APGD
from zsrobust.attacks.base import Attack
from zsrobust.attacks.ensemble import Ensemble
from zsrobust.attacks.library import LibraryAttack
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.attacks.transfer import Transfer


def fit_to_classes(attack: Attack, classes: int) -> tuple[Attack | None, str]:
    """``attack`` as it is defined for ``classes`` classes, and a note in words for the results.

    Target classes are capped at ``classes`` - 1. The DLR loss needs 3 classes and its targeted
    form 4; an ensemble goes on without a part that is not defined, and takes ``apgd-dlr`` for
    ``apgd-t`` where there are 3. None if nothing is left; the note is empty if nothing changed.
    """
    if classes < 2:
        return None, f"{attack.name} left out: it needs 2 classes, here {classes}"
    return _fit(attack, classes)


@singledispatch
def _fit(attack: Attack, classes: int) -> tuple[Attack | None, str]:
    return attack, ""


@_fit.register
def _(attack: PGD, classes: int) -> tuple[Attack | None, str]:
    if attack.loss == "dlr" and classes < 3:
        return None, f"{attack.name} left out: it needs 3 classes, here {classes}"
    if attack.loss == "targeted" and attack.targets > classes - 1:
        return replace(attack, targets=classes - 1), _capped(attack, attack.targets, classes)
    return attack, ""


@_fit.register
def _(attack: LibraryAttack, classes: int) -> tuple[Attack | None, str]:
    if classes < attack.fewest_classes:
        needed = attack.fewest_classes
        return None, f"{attack.name} left out: it needs {needed} classes, here {classes}"
    targets = attack.parameters.get("n_target_classes", 0)
    if isinstance(targets, int) and targets > classes - 1:
        parameters = {**attack.parameters, "n_target_classes": classes - 1}
        return replace(attack, parameters=parameters), _capped(attack, targets, classes)
    return attack, ""


@_fit.register
def _(attack: APGD, classes: int) -> tuple[Attack | None, str]:
    if classes < attack.fewest_classes:
        needed = attack.fewest_classes
        return None, f"{attack.name} left out: it needs {needed} classes, here {classes}"
    if attack.targeted and attack.targets > classes - 1:
        return replace(attack, targets=classes - 1), _capped(attack, attack.targets, classes)
    return attack, ""


@_fit.register
def _(attack: Transfer, classes: int) -> tuple[Attack | None, str]:
    inner, note = fit_to_classes(attack.attack, classes)
    return inner and replace(attack, attack=inner), note


@_fit.register
def _(attack: Ensemble, classes: int) -> tuple[Attack | None, str]:
    parts, notes = [], []
    for part in attack.parts:
        fitted, note = fit_to_classes(part, classes)
        if fitted is None and classes == 3 and isinstance(part, LibraryAttack | APGD):
            # Only apgd-t needs more than 3.
            chunk = part.chunk or LibraryAttack.chunk
            stand_in = LibraryAttack("apgd-dlr", part.threat, part.seed, chunk)
            if stand_in not in attack.parts:
                fitted = stand_in
                note = f"{part.name} replaced by {fitted.name}: it needs 4 classes, here 3"
        if fitted is not None:
            parts.append(fitted)
        notes.append(note)
    note = "; ".join(filter(None, notes))
    return (replace(attack, parts=tuple(parts)) if parts else None), note


def _capped(attack: Attack, targets: int, classes: int) -> str:
    return f"{attack.name} with {classes - 1} of {targets} target classes"
