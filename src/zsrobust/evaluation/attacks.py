"""The attacks an evaluation asks for, as they are defined on each of its data sets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch

from zsrobust.attacks import Attack, ThreatModel, Transfer, fit_to_classes, make_attack
from zsrobust.config import EvaluateConfig
from zsrobust.data.image_set import ImageSet
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load

TRANSFER = re.compile(r"transfer\((?P<attack>[^,]+), *(?P<model>.+)\)")


@dataclass
class RequestedAttacks:
    """Every attack of a configuration at every radius; refused early where a name is unknown.

    Attributes:
        config: what was asked for.
        device: where surrogate models of transfer attacks go.

    Raises:
        RequestError: if an attack's name, a parameter or a surrogate model is wrong.
    """

    config: EvaluateConfig
    device: torch.device
    surrogates: dict[str, CLIPModel] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name in self.config.attack:
            if found := TRANSFER.fullmatch(name):
                surrogate = found["model"]
                self.surrogates[surrogate] = load(
                    surrogate, preprocessing=self.config.preprocessing, device=self.device
                )
            self._make(found["attack"] if found else name, ThreatModel())

    def on(self, images: ImageSet) -> tuple[list[Attack], dict[str, str]]:
        """Those defined for the set's classes, and by name what was changed or left out."""
        attacks: list[Attack] = []
        notes: dict[str, str] = {}
        for name in self.config.attack:
            for eps in self.config.eps:
                threat = ThreatModel(self.config.norm, float(eps))
                fitted, note = fit_to_classes(
                    self._on(name, threat, images), len(images.class_names)
                )
                if note:
                    notes[name] = note
                if fitted is not None:
                    attacks.append(fitted)
        return attacks, notes

    def _on(self, name: str, threat: ThreatModel, images: ImageSet) -> Attack:
        found = TRANSFER.fullmatch(name)
        if not found:
            return self._make(name, threat)
        surrogate = self.surrogates[found["model"]].classifier(
            images.class_names, self.config.templates or images.templates or None
        )
        attack = self._make(found["attack"], threat)
        return Transfer(attack, surrogate.eval().to(self.device), found["model"])

    def _make(self, name: str, threat: ThreatModel) -> Attack:
        return make_attack(name, threat, seed=self.config.seed, **vars(self.config.pgd))
