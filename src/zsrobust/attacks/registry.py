"""Attack names, as written on the command line and in results, to attacks."""

from __future__ import annotations

import re
from collections.abc import Callable

from zsrobust.attacks.base import Attack
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.errors import RequestError

PATTERNS: dict[str, Callable[..., Attack]] = {
    r"pgd-(?P<steps>\d+)": PGD,
}
EXAMPLES = ("pgd-10",)


def make_attack(name: str, threat: ThreatModel, **options: object) -> Attack:
    """The attack called ``name`` inside ``threat``; ``options`` are its own parameters.

    Raises:
        RequestError: if the name is unknown or a parameter is out of range.
    """
    for pattern, attack in PATTERNS.items():
        if match := re.fullmatch(pattern, name):
            numbers = {key: int(value) for key, value in match.groupdict().items()}
            return attack(threat=threat, **numbers, **options)
    raise RequestError(f"attack {name!r} is unknown: choose one like {', '.join(EXAMPLES)}")
