"""Attacks: where they may go (threat model), how they get there, and their names."""

from zsrobust.attacks.base import Attack
from zsrobust.attacks.pgd import pgd
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.attacks.registry import make_attack
from zsrobust.attacks.threat_model import ThreatModel

__all__ = ["PGD", "Attack", "ThreatModel", "make_attack", "pgd"]
