"""The models and data sets of an evaluation: by name, or as objects that names stand for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from zsrobust.attacks import Attack
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.prompts import prompts_of
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.data.verify import readable, say_notes, with_content_stamp
from zsrobust.evaluation.compute import sees_alike
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.utils.errors import RequestError
from zsrobust.utils.own_code import module_code
from zsrobust.utils.progress import Steps


@dataclass(frozen=True)
class Given:
    """Objects by the names that a configuration has for them.

    Attributes:
        models: loaded models, or the names under which they are loaded.
        data: opened data sets.
        attacks: attacks, each with its own radius.
        temporary: whether the run folder is to go when the evaluation is done.
    """

    models: Mapping[str, CLIPModel | str] = field(default_factory=dict)
    data: Mapping[str, ImageSet] = field(default_factory=dict)
    attacks: Mapping[str, Attack] = field(default_factory=dict)
    temporary: bool = False


def models_of(config: EvaluateConfig, given: Given, device: torch.device) -> list[CLIPModel]:
    """The models asked for, after the undefended original of each one that was fine-tuned.

    After the originals comes what a fine-tuning began from where that was fine-tuned itself. Both
    see pixels and prompts as the fine-tuned model does; under two protocols one is two classifiers.
    The same model without its test-time defence comes before one that has one.
    """
    asked = [_model(name, given.models.get(name, name), config, device) for name in config.model]
    if config.baseline:
        undefended = [model.defence.undefended for model in asked if model.defence]
        asked = [*(model for model in undefended if model.name not in config.model), *asked]
    models = {model.name: model for model in asked}
    before: dict[str, CLIPModel] = {}
    for model in asked if config.baseline else []:
        if model.defence or model.method == "original":
            continue
        for found in (_seen_as(model, model.source, device), _start(model, device)):
            if found is None or any(_alike(one, found) for one in (*before.values(), *asked)):
                continue
            if found.name in {**models, **before}:
                found.name = f"{found.name} (as {model.name})"
            before[found.name] = found
    originals_first = sorted(before.values(), key=lambda one: one.method != "original")
    return [*originals_first, *models.values()]


def _seen_as(model: CLIPModel, name: str, device: torch.device) -> CLIPModel:
    """The model of that name, with the pixels and prompts of ``model``."""
    return replace(
        load(name, preprocessing=model.preprocessing.protocol, device=device),
        name=name,
        loader_resize=model.loader_resize,
        default_templates=model.default_templates,
    )


def _start(model: CLIPModel, device: torch.device) -> CLIPModel | None:
    """The fine-tuned model that ``model`` was fine-tuned from; None where it is not to be had."""
    start = model.record.get("start")
    if not start:
        return None
    try:
        found = _seen_as(model, start["name"], device)
    except RequestError as reason:
        Steps("", 1).say(f"note: {model.name} is evaluated without its starting model: {reason}")
        return None
    if fingerprint(found.encoder) != start["weights"]:
        Steps("", 1).say(
            f"note: {model.name} is evaluated without its starting model: {found.name} has other "
            "weights now"
        )
        return None
    return found


def _alike(known: CLIPModel, found: CLIPModel) -> bool:
    """Whether both are one classifier."""
    return (
        (known.source, known.method) == (found.source, found.method)
        and known.defence is None
        and sees_alike(known, found)
        and (known.method == "original" or fingerprint(known.encoder) == fingerprint(found.encoder))
    )


def _model(
    name: str, given: CLIPModel | str, config: EvaluateConfig, device: torch.device
) -> CLIPModel:
    if isinstance(given, str):
        model = load(given, preprocessing=config.preprocessing, device=device)
        return replace(model, name=name)
    preprocessing = given.preprocessing
    if config.preprocessing is not None:
        preprocessing = preprocessing.with_protocol(config.preprocessing)
    # A copy, so that the given one stays on its device and in its mode.
    encoder = copy.deepcopy(given.encoder).eval().to(device)
    return replace(
        given,
        name=name,
        encoder=encoder,
        preprocessing=copy.deepcopy(preprocessing).to(device),
        code=module_code(encoder),
    )


def expanded(data: Sequence[str], given: Given) -> list[str]:
    """Each data set, with the sets of a suite in its place.

    Raises:
        RequestError: if a suite lacks sets.
    """
    return [one for name in data for one in ([name] if name in given.data else expand([name]))]


def sets_of(
    specs: Sequence[str], config: EvaluateConfig, given: Given, models: Sequence[CLIPModel]
) -> list[ImageSet]:
    """The data sets of ``specs``, read through once.

    Raises:
        RequestError: if one is not there, or cannot be read, or a model cannot tell its classes
            apart.
    """
    opened: dict[str, ImageSet] = {}
    # All are opened before any is read through, so that what is missing is told at once.
    for spec in specs:
        images = given.data[spec] if spec in given.data else opening(spec, "test")()
        if images.name in opened:
            raise RequestError(
                f"two data sets are called {images.name}: give one another name, as in "
                f"{spec},name=OTHER"
            )
        opened[images.name] = images
        say_notes(images)
    say = Steps("", 1).say
    for model in models:
        for images in opened.values():
            model.check_classes(
                images.class_names,
                prompts_of(images, config.templates),
                images.name,
                lambda doubt: say(f"warning: {doubt}"),
            )
    read = [
        readable(images, config.on_unreadable, samples=config.samples, seed=config.seed)
        for images in opened.values()
    ]
    return [with_content_stamp(one) if one.name in given.data else one for one in read]
