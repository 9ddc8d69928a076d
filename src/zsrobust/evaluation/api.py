"""``zsrobust.evaluate``: a configuration, or names and objects by keyword."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from zsrobust.attacks import Attack
from zsrobust.config.schema import EvaluateConfig, PGDOptions
from zsrobust.data.image_set import ImageSet
from zsrobust.data.torch_dataset import MapStyle, image_set
from zsrobust.evaluation.evaluator import evaluate as evaluate_config
from zsrobust.evaluation.inputs import Given
from zsrobust.evaluation.results import Results
from zsrobust.models.clip import CLIPModel
from zsrobust.models.own_model import own_model
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps, format_radius
from zsrobust.utils.validation import unknown

Model: TypeAlias = str | CLIPModel | nn.Module
Data: TypeAlias = str | ImageSet | MapStyle


def evaluate(
    config: EvaluateConfig | None = None,
    *,
    models: Model | Sequence[Model] | Mapping[str, Model] | None = None,
    data: Data | Sequence[Data] | Mapping[str, Data] | None = None,
    attacks: str | Attack | Sequence[str | Attack] = "pgd-10",
    eps: str | float | Sequence[str | float] | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Results:
    """Clean and adversarial accuracy of every model on every data set under every attack.

    Either ``config`` is given, as the command makes it, or the rest. Given objects are left as they
    are: the evaluation copies models.

    Args:
        config: a whole configuration; what its run folder already holds is not computed again.
        models: names that :func:`zsrobust.load` takes, loaded models, a
            :class:`ZeroShotClassifier`, or any module from images in [0, 1] to logits; a mapping
            says what each is called in results.
        data: specifications as after ``--data``, image sets, or map-style data sets of torch with
            ``classes`` (see :func:`zsrobust.image_set`); a mapping says what each is called.
        attacks: names as after ``--attack``, or attacks, which have their own radius.
        eps: radii of the attacks that are named, 1/255 by default.
        out: run folder, from which the same call is answered later; None for none: nothing but
            caches stays on disk.
        options: other fields of :class:`EvaluateConfig`, such as ``samples``, ``norm``, ``seed``
            and ``pgd={"restarts": 5}``.

    Raises:
        RequestError: before any long work, if something asked for is wrong or missing.
        RunError: if an image can no longer be read, or an attack meets a NaN.
    """
    if config is not None:
        if options or not (models is data is eps is out is None):
            raise RequestError("evaluate takes a configuration or keywords, not both")
        return evaluate_config(config)
    if models is None or data is None:
        raise RequestError("evaluate needs models and data")
    if options.get("save_adversarial") and out is None:
        raise RequestError("save_adversarial needs out, a run folder that stays")
    model_names, given_models = _models(models)
    data_names, given_data = _data(data)
    attack_names, given_attacks = _attacks(attacks)
    radii = _listed(eps) if eps is not None else []
    if radii and len(given_attacks) == len(attack_names):
        raise RequestError("eps is for attacks that are named: those given have their own radius")
    own = sorted({Eps.of_attack(attack.threat.eps) for attack in given_attacks.values()})
    if norms := {attack.threat.norm for attack in given_attacks.values()}:
        if len(norms | {options.get("norm", *norms)}) > 1:
            raise RequestError("attacks and norm are of different norms: evaluate one at a time")
        options["norm"] = norms.pop()
    if isinstance(pgd := options.get("pgd"), Mapping):
        _require_known(pgd, "pgd", {part.name for part in fields(PGDOptions)})
        options["pgd"] = PGDOptions(**pgd)
    known = {part.name for part in fields(EvaluateConfig)} - {"model", "attack"}
    _require_known(options, "evaluate", {*known, "models", "attacks"})
    made = EvaluateConfig(
        model=model_names,
        data=data_names,
        attack=attack_names,
        eps=[Eps(one) for one in radii or own or ["1/255"]],
        out=None if out is None else str(out),
        **options,
    )
    return evaluate_config(made, Given(given_models, given_data, given_attacks, temporary=True))


def _models(models: Any) -> tuple[list[str], dict[str, CLIPModel | str]]:
    names: list[str] = []
    given: dict[str, CLIPModel | str] = {}
    for name, model in _named(models, (str, CLIPModel, nn.Module)):
        if isinstance(model, str):
            names.append(name or model)
            given |= {name: model} if name else {}
            continue
        if not isinstance(model, CLIPModel | nn.Module):
            raise RequestError(
                f"models holds a {type(model).__name__}: give a name, a loaded model, a "
                "ZeroShotClassifier, or a module from images to logits"
            )
        if not isinstance(model, CLIPModel):
            model = own_model(name or type(model).__name__, model)
        names.append(name or model.name)
        given[names[-1]] = model
    _refuse_twice("model", names)
    return names, given


def _data(data: Any) -> tuple[list[str], dict[str, ImageSet]]:
    names: list[str] = []
    given: dict[str, ImageSet] = {}
    for name, one in _named(data, (str, ImageSet)):
        if isinstance(one, str):
            names.append(f"{one},name={name}" if name else one)
            continue
        if isinstance(one, ImageSet):
            images = one if name is None else replace(one, name=name)
        elif hasattr(one, "__len__") and hasattr(one, "__getitem__"):
            images = image_set(one, name=name)
        else:
            raise RequestError(
                f"data holds a {type(one).__name__}: give a specification, an ImageSet, or a "
                "map-style data set of torch"
            )
        names.append(images.name)
        given[images.name] = images
    _refuse_twice("data set", names)
    return names, given


def _attacks(attacks: Any) -> tuple[list[str], dict[str, Attack]]:
    names: list[str] = []
    given: dict[str, Attack] = {}
    for attack in _listed(attacks):
        if isinstance(attack, str):
            names.append(attack)
        elif isinstance(attack, Attack):
            threat = attack.threat
            names.append(f"{attack.name} {format_radius(threat.norm, threat.eps)}")
            given[names[-1]] = attack
        else:
            raise RequestError(
                f"attacks holds a {type(attack).__name__}: give a name such as pgd-10, or an Attack"
            )
    _refuse_twice("attack", names)
    return names, given


def _named(given: Any, single: tuple[type, ...]) -> Iterable[tuple[str | None, Any]]:
    """Each object with its name, None where none is given."""
    if isinstance(given, Mapping):
        return list(given.items())
    # A data set of torch has a length too, but is no list.
    several = isinstance(given, list | tuple | set) and not isinstance(given, single)
    return [(None, one) for one in (given if several else [given])]


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple | set) else [given]


def _require_known(options: Iterable[str], of: str, known: set[str]) -> None:
    for key in options:
        if key not in known:
            raise RequestError(unknown(f"option of {of}", key, sorted(known)))


def _refuse_twice(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"two {what}s are called {name}: give a mapping with other names")
