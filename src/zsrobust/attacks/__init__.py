"""Attacks: where they may go (threat model), how they get there, and their names."""

from zsrobust.attacks.base import Attack
from zsrobust.attacks.cw import CW
from zsrobust.attacks.ensemble import Ensemble
from zsrobust.attacks.fit import fit_to_classes
from zsrobust.attacks.library import LibraryAttack
from zsrobust.attacks.noise_attack import Noise
from zsrobust.attacks.pgd import pgd
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.attacks.registry import make_attack
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
    "fit_to_classes",
    "make_attack",
    "pgd",
]
