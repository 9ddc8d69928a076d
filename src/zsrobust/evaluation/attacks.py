"""The attacks an evaluation asks for, as they are defined on each of its data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zsrobust.attacks import Attack, ThreatModel, Transfer, make_attack
from zsrobust.attacks.pgd import input_gradient
from zsrobust.attacks.stand_in import OnStandIn
from zsrobust.attacks.transfer import UNDEFENDED, read_transfer
from zsrobust.config.schema import EvaluateConfig, PGDOptions
from zsrobust.utils.errors import NoGradient, RequestError
from zsrobust.utils.lazy import torch
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.data.image_set import ImageSet
    from zsrobust.models.clip import CLIPModel
    from zsrobust.models.zero_shot import ZeroShotClassifier


def surrogate_names(config: EvaluateConfig, given: Mapping[str, Attack] | None = None) -> list[str]:
    """Names of the models that transfer attacks are made with, once every attack is known.

    ``given`` holds attacks that some names stand for.

    Raises:
        RequestError: if an attack's name or a parameter is wrong, one is given twice, or none takes
            the options of PGD that are given.
    """
    names: list[str] = []
    surrogates: list[str] = []
    takes_options = in_phases = False
    for name in config.attack:
        if given and name in given:
            in_phases |= len(getattr(given[name], "parts", ())) > 1
            continue
        found = read_transfer(name)
        made = _make(config, found[0] if found else name, ThreatModel(config.norm))
        if found and found[1] != UNDEFENDED:
            surrogates.append(found[1])
        names.append(f"transfer({made.name}, {found[1]})" if found else made.name)
        in_phases |= len(getattr(made, "parts", ())) > 1
        takes_options |= any(not part.options.isdisjoint(vars(config.pgd)) for part in _parts(made))
    twice = {name for name in names if names.count(name) > 1}
    require(not twice, "attack", f"{', '.join(sorted(twice))} twice", "given once each")
    require(
        takes_options or config.pgd == PGDOptions(),
        "pgd",
        "given",
        "left out: no attack asked for takes these options",
    )
    require(
        in_phases or config.half_width is None,
        "half_width",
        config.half_width,
        "left out: no attack asked for has several parts, such as pgd-10+autoattack",
    )
    return surrogates


@dataclass
class RequestedAttacks:
    """Every attack of a configuration at every radius; refused early where a name is unknown.

    Attributes:
        config: what was asked for.
        device: where surrogate models of transfer attacks go.
        given: attacks that some names stand for, each with its own radius.

    Raises:
        RequestError: if an attack's name, a parameter or a surrogate model is wrong.
    """

    config: EvaluateConfig
    device: torch.device
    given: Mapping[str, Attack] = field(default_factory=dict)
    surrogates: dict[str, CLIPModel] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        from zsrobust.models.loading import load

        for name in surrogate_names(self.config, self.given):
            self.surrogates[name] = load(
                name, preprocessing=self.config.preprocessing, device=self.device
            )

    def on(
        self, images: ImageSet, resolution: int, classifier: ZeroShotClassifier
    ) -> tuple[list[Attack], dict[str, str]]:
        """Those defined for the set's classes, and by name what was changed or left out.

        Args:
            images: the data set.
            resolution: pixels a side.
            classifier: what is attacked, over the set's classes.

        Raises:
            RequestError: if none is, or a length in ``l2`` spans the pixel range.
        """
        if self.config.norm == "l2":
            self._require_l2(resolution)
        attacks: list[Attack] = []
        notes: dict[str, str] = {}
        blocked = classifier.undefended is not classifier and not _has_gradient(
            classifier, resolution
        )
        for name in self.config.attack:
            for attack in self._at_every_radius(name, images, classifier):
                fitted, note = attack.for_classes(len(images.class_names))
                why = "" if fitted is None else fitted.left_out_of(classifier)
                if blocked and fitted is not None and fitted.needs_gradient:
                    why = f"has no gradient through its defence; bpda({attack.name}) needs none"
                if why:
                    fitted, note = None, f"{attack.name} left out: the model {why}"
                if note:
                    notes[attack.name] = note
                if fitted is not None:
                    attacks.append(fitted)
        if not attacks:
            raise RequestError(f"no attack is left for {images.name}: {'; '.join(notes.values())}")
        return attacks, notes

    def _at_every_radius(
        self, name: str, images: ImageSet, classifier: ZeroShotClassifier
    ) -> list[Attack]:
        if name in self.given:
            return [self.given[name]]
        radii = (ThreatModel(self.config.norm, float(eps)) for eps in self.config.eps)
        return [self._on(name, threat, images, classifier) for threat in radii]

    def _require_l2(self, resolution: int) -> None:
        largest = 3**0.5 * resolution
        lengths = [("eps", eps) for eps in self.config.eps]
        for key, length in [*lengths, ("pgd.step_size", self.config.pgd.step_size or 0)]:
            require(
                length < largest,
                key,
                float(length),
                f"below {largest:.4g}, the l2 distance from black to white at {resolution} px",
            )

    def _on(
        self, name: str, threat: ThreatModel, images: ImageSet, classifier: ZeroShotClassifier
    ) -> Attack:
        found = read_transfer(name)
        if not found:
            return _make(self.config, name, threat)
        from zsrobust.data.published.prompts import prompts_of

        inner, surrogate_name = found
        if surrogate_name == UNDEFENDED:
            return Transfer(_make(self.config, inner, threat), classifier.undefended, UNDEFENDED)
        surrogate = self.surrogates[surrogate_name].classifier(
            images.class_names,
            prompts_of(images, self.config.templates),
            lambda _: None,  # Told before, as of every model.
        )
        attack = _make(self.config, inner, threat)
        return Transfer(attack, surrogate.eval().to(self.device), surrogate_name)


def plain_attacks(config: EvaluateConfig) -> list[Attack]:
    """Every attack at every radius, for any number of classes; of a transfer what its model meets.

    Raises:
        RequestError: if an attack's name or a parameter is wrong.
    """
    return [
        _make(config, found[0] if found else name, ThreatModel(config.norm, float(eps)))
        for name in config.attack
        for found in [read_transfer(name)]
        for eps in config.eps
    ]


def _has_gradient(classifier: ZeroShotClassifier, resolution: int) -> bool:
    images = torch.full(
        (1, 3, resolution, resolution), 0.5, device=classifier.class_embeddings.device
    )
    try:
        input_gradient(lambda given: classifier(given).sum(-1), images)
    except NoGradient:
        return False
    return True


def _parts(attack: Attack) -> list[Attack]:
    """The attacks that it consists of."""
    if isinstance(attack, OnStandIn):
        return _parts(attack.attack)
    parts: tuple[Attack, ...] = getattr(attack, "parts", ())
    return [one for part in parts for one in _parts(part)] or [attack]


def _make(config: EvaluateConfig, name: str, threat: ThreatModel) -> Attack:
    return make_attack(name, threat, seed=config.seed, **vars(config.pgd))
