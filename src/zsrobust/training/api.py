"""``zsrobust.finetune``: a configuration, or a recipe with names and objects by keyword."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from zsrobust.config.parsing import recipe
from zsrobust.config.schema import FinetuneConfig
from zsrobust.data.image_set import ImageSet
from zsrobust.data.torch_dataset import MapStyle, image_set
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.text_side import FunctionText
from zsrobust.models.weights import fingerprint
from zsrobust.objectives import OBJECTIVES, Objective, objective_class
from zsrobust.training.finetune import Run
from zsrobust.training.finetune import finetune as finetune_config
from zsrobust.utils.errors import RequestError

IN_MEMORY = "memory:"
"""What ``config.yaml`` calls data that was given as an object begins with."""


def finetune(
    config: FinetuneConfig | str = "pmg_aft",
    *,
    model: str | CLIPModel | None = None,
    data: str | ImageSet | MapStyle | None = None,
    objective: Objective | str | Callable[..., Any] | None = None,
    **options: Any,
) -> Run:
    """Fine-tune a model; the same call resumes an interrupted run.

    Args:
        config: a whole configuration, or the recipe that the other arguments complete.
        model: a name that :func:`zsrobust.load` takes, or a model that it gave. It is loaded again
            and stays as it is.
        data: a specification as after ``--data``, an image set, or a map-style data set of torch
            with ``classes`` (see :func:`zsrobust.image_set`). A run folder knows an object by its
            pixels: with others it is refused. ``zsrobust rerun`` cannot repeat such a run.
        objective: in the place of the recipe's: an instance, a name as after ``--method``, or a
            class or function with :func:`zsrobust.objectives.register_objective`.
        options: other fields of :class:`FinetuneConfig`, as of :func:`zsrobust.recipe`.

    Raises:
        RequestError: before any training, if something asked for is wrong or missing, or ``model``
            is not as its name loads it.
        RunError: if the run fails: a loss that is not finite, a full disk.
        Stopped: on Ctrl-C or SIGTERM, once a checkpoint is saved.
    """
    given = _image_set(data)
    asked: dict[str, Any] = {"data": f"{IN_MEMORY}{given.name}" if given else data}
    if isinstance(model, CLIPModel):
        asked |= _named(model)
    elif model is not None:
        asked["model"] = model
    if objective is not None:
        method, made = _objective_of(objective)
        asked |= {"method": method, "objective": made, "code": []}
    asked = {key: value for key, value in asked.items() if value is not None}
    if isinstance(config, FinetuneConfig):
        if options:
            raise RequestError("finetune takes options with a recipe, not with a configuration")
        return finetune_config(replace(config, **asked), given)
    # After the recipe is read: its options of another objective are not this one's.
    own = {key: asked.pop(key) for key in ("method", "objective", "code") if key in asked}
    return finetune_config(replace(recipe(config, **asked, **options), **own), given)


def _objective_of(given: object) -> tuple[str, Objective]:
    """A method's name and its objective, with default options where ``given`` is not an instance.

    Args:
        given: a name as after ``--method``, a registered class or function, or an objective.

    Raises:
        RequestError: if it is none of these, or not registered.
    """
    if isinstance(given, str):
        return given, objective_class(given)()
    if isinstance(given, Objective) and type(given) in OBJECTIVES.values():
        return given.name, given
    for name, kind in OBJECTIVES.items():
        if given is kind or given is getattr(kind, "function", kind):
            return name, kind()
    what = getattr(given, "__name__", f"a {type(given).__name__}")
    raise RequestError(
        f"objective is {what}: give a name as after --method, an Objective, or a class or function "
        "with @register_objective"
    )


def _image_set(data: Any) -> ImageSet | None:
    if data is None or isinstance(data, str):
        return None
    if isinstance(data, ImageSet):
        return data
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return image_set(data)
    raise RequestError(
        f"data is a {type(data).__name__}: give a specification, an ImageSet, or a map-style data "
        "set of torch"
    )


def _named(model: CLIPModel) -> dict[str, str]:
    """Name and preprocessing with which a run folder brings the model back.

    Raises:
        RequestError: if that is another model.
    """
    if isinstance(model.text, FunctionText):
        raise RequestError(
            f"model {model.name} is made of two encoders in memory, so that its run could not be "
            "loaded again: save a model of open_clip or transformers and name its folder, as "
            "local-dir:FOLDER or transformers:FOLDER; train any other in a loop of your own, with "
            "attacks and objectives of zsrobust"
        )
    advice = (
        "save model.encoder.state_dict() by torch.save and give BASE@FILE, where BASE is the name "
        "that it was loaded by"
    )
    try:
        again = load(model.name, preprocessing=model.preprocessing.protocol)
    except RequestError as error:
        raise RequestError(
            f"model {model.name} is in memory alone, so that its run could not be loaded again: "
            f"{advice} ({error})"
        ) from None
    if fingerprint(again.encoder) != fingerprint(model.encoder):
        raise RequestError(f"model {model.name} has other weights than that name loads: {advice}")
    return {"model": model.name, "preprocessing": model.preprocessing.protocol}
