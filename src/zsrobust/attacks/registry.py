"""Attack names, as written on the command line and in results, to attacks."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from zsrobust.attacks.apgd_attack import APGD, EARLY
from zsrobust.attacks.base import Attack
from zsrobust.attacks.cw import CW
from zsrobust.attacks.ensemble import Ensemble
from zsrobust.attacks.library import STANDARD, LibraryAttack
from zsrobust.attacks.noise_attack import Noise
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.transfer import read_transfer
from zsrobust.utils.errors import RequestError

PGD_OPTIONS = frozenset({"step_size", "restarts", "random_start", "early_stop", "logit_scale"})
"""What only the PGD family has; every other attack goes without."""

PATTERNS: dict[str, Callable[..., Attack]] = {
    r"pgd-(?P<steps>\d+)(-(?P<loss>margin|dlr|targeted))?": PGD,
    r"cw-(?P<steps>\d+)": CW,
    r"noise-(?P<draws>\d+)": Noise,
}
ENSEMBLES = {
    "autoattack": "apgd-ce+apgd-t+fab-t+square",
    "autoattack-early": "apgd-ce-early+apgd-t-early+fab-t+square",
}
"""AutoAttack's standard version, and the same with APGD that stops at a sample's first fall.

Its ``rand`` version, for randomised models, is not offered.
"""

ALSO_CALLED = {"aa": "autoattack", "pgd": "pgd-10", "cw": "cw-10", "apgd": "apgd-ce"}
"""What others call some of them, for a hint."""

EXAMPLES = (
    *("pgd-10", "pgd-10-margin", "pgd-10-dlr", "pgd-10-targeted", "cw-10", "noise-10"),
    *STANDARD,
    *EARLY,
    *ENSEMBLES,
    "apgd-ce+apgd-dlr",
)


def make_attack(name: str, threat: ThreatModel, **options: object) -> Attack:
    """The attack called ``name`` inside ``threat``.

    Args:
        name: one like ``EXAMPLES``; ``A+B`` is the worst of A and B on each sample.
        threat: norm, radius and pixel range.
        options: ``seed``, and ``PGD_OPTIONS``, which reach the attacks of the PGD family alone.

    Raises:
        RequestError: if the name or an option is unknown or a parameter is out of range.
    """
    if unknown := options.keys() - PGD_OPTIONS - {"seed"}:
        allowed = ", ".join(sorted({"seed", *PGD_OPTIONS}))
        raise RequestError(f"attacks have no option {min(unknown)!r}: choose from {allowed}")
    combined = ENSEMBLES.get(name, name)
    if "+" in combined:
        made = [make_attack(part, threat, **options) for part in combined.split("+")]
        nested = [part.parts if isinstance(part, Ensemble) else (part,) for part in made]
        return Ensemble(name, tuple(part for parts in nested for part in parts))
    for pattern, attack in PATTERNS.items():
        if match := re.fullmatch(pattern, name):
            given = {key: value for key, value in match.groupdict().items() if value is not None}
            values = {key: int(text) if text.isdigit() else text for key, text in given.items()}
            return attack(threat=threat, **values, **_known(attack, options))
    if name in EARLY:
        return APGD(name, threat, **_known(APGD, options))
    if name in STANDARD:
        return LibraryAttack(name, threat, **_known(LibraryAttack, options))
    raise RequestError(_unknown(name))


def _known(attack: object, options: dict[str, object]) -> dict[str, Any]:
    if isinstance(attack, type) and issubclass(attack, PGD):
        return options
    return {key: value for key, value in options.items() if key == "seed"}


def _unknown(name: str) -> str:
    if read_transfer(name):
        return (
            f"attack {name!r} is made with a loaded model, so it is no part of another attack; in "
            "Python build it with zsrobust.attacks.Transfer"
        )
    near = _nearest(name)
    if near is None and re.search("[()]", name):
        return (
            f"attack {name!r} is unknown: the only one in parentheses is transfer(ATTACK, MODEL); "
            "the worst of several is A+B, and ttc(MODEL) and the like are models"
        )
    hint = f"did you mean {near}? " if near else ""
    known = ", ".join([*EXAMPLES, "transfer(ATTACK, MODEL)"])
    return f"attack {name!r} is unknown: {hint}choose one like {known}"


def _nearest(name: str) -> str | None:
    """The attack that ``name`` most likely means, such as ``pgd-10`` for ``PGD_10``."""
    plain = re.sub(r"[\s_(]+", "-", name.strip().lower()).rstrip(")")
    plain = re.sub(r"^(pgd|cw|noise)(?=\d)", r"\1-", plain)
    plain = ALSO_CALLED.get(plain, plain)
    if plain != name:
        try:
            return make_attack(plain, ThreatModel()).name
        except RequestError:
            pass
    close = get_close_matches(plain, EXAMPLES, n=1)
    return close[0] if close else None
