"""Attacks: one module each, registered by name, within a threat model."""

from zsrobust.attacks.base import Attack, register_attack
from zsrobust.attacks.cw import CW
from zsrobust.attacks.ensemble import Ensemble
from zsrobust.attacks.library import LibraryAttack
from zsrobust.attacks.noise import Noise
from zsrobust.attacks.pgd import PGD, pgd
from zsrobust.attacks.registry import is_black_box, make_attack
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.transfer import Transfer

__all__ = [
    "CW",
    "PGD",
    "Attack",
    "Ensemble",
    "LibraryAttack",
    "Noise",
    "ThreatModel",
    "Transfer",
    "is_black_box",
    "make_attack",
    "pgd",
    "register_attack",
]
