"""The attack ``cw-K``: what the field's scripts call CW."""

from __future__ import annotations

from dataclasses import dataclass, field

from zsrobust.attacks.base import register_attack
from zsrobust.attacks.losses import LossName
from zsrobust.attacks.pgd import PGD


@register_attack(r"cw-(?P<steps>\d+)", "cw-10")
@dataclass(frozen=True)
class CW(PGD):
    """PGD on Carlini and Wagner's margin loss, the same images as ``pgd-K-margin``.

    That is the usage of the scripts of TeCoA and PMG-AFT and of the tables that cite them. Carlini
    and Wagner's own attack (S&P 2017) minimises the norm of the change instead.
    """

    loss: LossName = field(default="margin", init=False)

    @property
    def name(self) -> str:
        """``cw-10`` for ten steps."""
        return f"cw-{self.steps}"
