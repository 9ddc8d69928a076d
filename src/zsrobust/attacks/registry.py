"""Attack names, as written on the command line and in results, to attacks."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from zsrobust.attacks.adaptive import BPDA, EOT
from zsrobust.attacks.base import OWN, REGISTERED, Attack, Registered
from zsrobust.attacks.ensemble import Ensemble
from zsrobust.attacks.library import LibraryAttack
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.transfer import read_transfer
from zsrobust.models.name_forms import split_arguments
from zsrobust.utils.errors import RequestError
from zsrobust.utils.own_code import load_own, no_such_name, split_own
from zsrobust.utils.validation import nearest

# Every attack registers itself when its module is imported.
for _module in iter_modules([str(Path(__file__).parent)]):
    import_module(f"{__package__}.{_module.name}")

OPTIONS = frozenset().union(*(found.attack.options for found in REGISTERED))
"""What may be set besides an attack's name; each attack takes those it has."""

ENSEMBLES = {
    "autoattack": "apgd-ce+apgd-t+fab-t+square",
    "autoattack-early": "apgd-ce-early+apgd-t-early+fab-t+square",
    "autoattack-rand": "eot-20(apgd-ce)+eot-20(apgd-dlr)",
}
"""AutoAttack's standard version, the same with APGD that stops at the first success, and the one
for models that draw random numbers.
"""

ADAPTIVE = re.compile(r"(eot-(?P<draws>\d+)|bpda)\((?P<inside>.*)\)")
"""Names of attacks on a stand-in of the classifier, see :mod:`zsrobust.attacks.adaptive`."""

SHORTER, QUERIES = re.compile(r"autoattack-(?P<steps>[1-9]\d{0,3})"), 50
"""AutoAttack with so many iterations a start, and ``QUERIES`` times as many queries of Square.

The standard version has 100 and 5,000. Fewer show that all parts run, not what a model withstands.
"""

ALSO_CALLED = {"aa": "autoattack", "pgd": "pgd-10", "cw": "cw-10", "apgd": "apgd-ce"}
"""What others call some of them, for a hint."""

EXAMPLES = (
    *(name for found in REGISTERED for name in found.examples),
    *ENSEMBLES,
    "autoattack-2",
    "apgd-ce+apgd-dlr",
    "eot-20(pgd-10)",
    "bpda(pgd-10)",
)


def make_attack(name: str, threat: ThreatModel, **options: object) -> Attack:
    """The attack called ``name`` inside ``threat``.

    Args:
        name: one like ``EXAMPLES``, or ``FILE.py:NAME`` for one that is registered in a file of the
            user's own; ``A+B`` is the worst of A and B on each sample.
        threat: norm, radius and pixel range.
        options: of ``OPTIONS``; attacks that do not have one ignore it.

    Raises:
        RequestError: if the name or an option is unknown, a parameter is out of range, or a file of
            the user's own is not there or fails.
    """
    if unknown := options.keys() - OPTIONS:
        allowed = ", ".join(sorted(OPTIONS))
        raise RequestError(f"attacks have no option {min(unknown)!r}: choose from {allowed}")
    if shorter := SHORTER.fullmatch(name):
        full = make_attack("autoattack", threat, **options)
        assert isinstance(full, Ensemble)
        return Ensemble(name, tuple(_shorter(p, int(shorter["steps"])) for p in full.parts))
    parts = split_arguments(ENSEMBLES.get(name, name), "+")
    if len(parts) > 1:
        made = [make_attack(part, threat, **options) for part in parts]
        nested = [part.parts if isinstance(part, Ensemble) else (part,) for part in made]
        if ".py:" in name:
            name = "+".join(part.name for part in made)
        return Ensemble(name, tuple(part for parts in nested for part in parts))
    if found := ADAPTIVE.fullmatch(name):
        inside = make_attack(found["inside"], threat, **options)
        return EOT(inside, int(found["draws"])) if found["draws"] else BPDA(inside)
    if own := split_own(name):
        file, inner = own
        there = OWN[load_own(file).__name__]
        if attack := _registered(inner, there, threat, options):
            return attack
        examples = [example for one in there for example in one.examples or [one.pattern.pattern]]
        raise no_such_name("attack", file, inner, examples)
    if attack := _registered(name, REGISTERED, threat, options):
        return attack
    raise RequestError(_unknown(name))


def _shorter(part: Attack, steps: int) -> Attack:
    assert isinstance(part, LibraryAttack)
    key, count = ("n_queries", QUERIES * steps) if part.black_box else ("n_iter", steps)
    return replace(part, parameters={**part.parameters, key: count})


def _registered(
    name: str, among: list[Registered], threat: ThreatModel, options: dict[str, object]
) -> Attack | None:
    for found in among:
        if match := found.pattern.fullmatch(name):
            values: dict[str, Any] = {"threat": threat}
            values |= {key: options[key] for key in options.keys() & found.attack.options}
            for key, text in match.groupdict().items():
                if text is not None:
                    values[key] = int(text) if text.isdigit() else text
            return found.attack(**values)
    return None


def is_black_box(name: str) -> bool:
    """Whether the attack called ``name`` uses no gradient; False for an unknown name."""
    try:
        return bool(read_transfer(name)) or make_attack(name, ThreatModel()).black_box
    except RequestError:
        return False


def _unknown(name: str) -> str:
    if read_transfer(name):
        return (
            f"attack {name!r} is made with a loaded model, so it is no part of another attack; in "
            "Python build it with zsrobust.attacks.Transfer"
        )
    near = _nearest(name)
    if near is None and re.search("[()]", name):
        return (
            f"attack {name!r} is unknown: those in parentheses are transfer(ATTACK, MODEL), "
            "eot-20(ATTACK) and bpda(ATTACK); the worst of several is A+B, and ttc(MODEL) and the "
            "like are models"
        )
    known = ", ".join([*EXAMPLES, "transfer(ATTACK, MODEL)"])
    hint = f"did you mean {near}?" if near else f"choose one like {known}"
    return f"there is no attack {name!r}: {hint}"


def _nearest(name: str) -> str | None:
    """The attack that ``name`` is closest to, such as ``pgd-10`` for ``PGD_10``."""
    plain = re.sub(r"[\s_(]+", "-", name.strip().lower()).rstrip(")")
    plain = re.sub(r"^([a-z]+)(?=\d)", r"\1-", plain)
    plain = ALSO_CALLED.get(plain, plain)
    if plain != name:
        try:
            return make_attack(plain, ThreatModel()).name
        except RequestError:
            pass
    own = (example for one in REGISTERED for example in one.examples)
    return nearest(plain, [*EXAMPLES, *own])
