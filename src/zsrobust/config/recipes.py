"""Recipes: YAML files of options, packaged ones and your own, read as data alone."""

from __future__ import annotations

import re
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from zsrobust.models.names import loader_word
from zsrobust.models.robust import ROBUST
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path
from zsrobust.utils.validation import unknown

MOST_BYTES = 1 << 17
MOST_LEVELS = 20
# What jsonargparse takes for a class to import, before it asks whether one is allowed there, and
# for another file to read.
_NO_KEYS = ("class_path", "init_args", "dict_kwargs", "config")


def recipe_names(command: str) -> list[str]:
    """The packaged recipes of a command, ``finetune`` or ``evaluate``."""
    folder = resources.files("zsrobust") / "recipes" / command
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())


def recipe_path(name: str, command: str) -> Path:
    """The file of a command's packaged recipe, or ``name`` itself where it is a file.

    Raises:
        RequestError: if it is neither.
    """
    if _is_file(name):
        return local_path(name)
    if name not in recipe_names(command):
        raise RequestError(unknown("file or recipe", name, recipe_names(command)))
    return Path(str(resources.files("zsrobust") / "recipes" / command / f"{name}.yaml"))


def recipe_titles(command: str) -> dict[str, str]:
    """The packaged recipes of a command, and what the first sentence of each says it is."""
    return {name: _title(recipe_path(name, command)) for name in recipe_names(command)}


def _title(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    text = " ".join(line.removeprefix("#").strip() for line in comment)
    # A dot within a number or a name ends no sentence.
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def small_model_settings(recipe: str, model: str, method: str = "") -> dict[str, Any]:
    """What a packaged fine-tuning recipe changes for ``model``, if that is an embedded small one.

    Args:
        recipe: its name.
        model: as in ``--model``; ``glyph-clip-robust`` and ``photo-lite-robust`` are trained as
            their originals are.
        method: the one that replaces the recipe's. Its learning rate does so too, unless the
            recipe's is that of an adapter.
    """
    path = resources.files("zsrobust") / "recipes" / "small_models.yaml"
    content = read_recipe(recipe_path(recipe, "finetune"))
    model = model or content.get("model", "")
    of_model = yaml.safe_load(path.read_text(encoding="utf-8")).get(
        loader_word(ROBUST.get(model, model)), {}
    )
    own = of_model.get(recipe, {})
    if method and (own or "adapter" not in content):
        own = of_model.get(method, {})
    # A recipe with a model of its own has settings for it.
    common = {} if "model" in content else of_model.get("every recipe", {})
    both = {**common.get("optimizer", {}), **own.get("optimizer", {})}
    return {**common, **own, "optimizer": both} if both else common


def with_method(content: dict[str, Any], method: str) -> dict[str, Any]:
    """A recipe's content for another method, whose objective is as in its own recipe."""
    own: dict[str, Any] = {}
    if method in recipe_names("finetune"):
        own = read_recipe(recipe_path(method, "finetune"))
    return {**content, "method": method, "objective": own.get("objective", {})}


def replaced_method(content: dict[str, Any], method: object) -> str:
    """The method of a recipe's content where ``method`` takes its place, else nothing."""
    own = str(content.get("method") or "")
    return own if method and own != method else ""


def read_recipe(path: Path) -> dict[str, Any]:
    """The keys and values of a YAML file.

    ``yaml.safe_load`` alone would follow aliases, a few lines of which can stand for billions of
    values, and nest as deep as Python's stack; jsonargparse would import the classes it names.

    Raises:
        RequestError: if it cannot be read, is no mapping, has tags of Python, an alias, a key that
            names a class or another file, or more than ``MOST_BYTES`` bytes or ``MOST_LEVELS``
            levels.
    """
    what = f"--config {path}"
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise RequestError(f"{what} has {size:,} bytes: a recipe has at most {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
        _refuse_growth(text, what)
        content = yaml.safe_load(text)
    # Dates and whole numbers are made by Python, which refuses some with a ValueError.
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RequestError(f"{what} cannot be read as YAML: {reason}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{what} must hold keys and values, as in `method: pmg_aft`")
    _refuse_keys(content, what)
    return content


def _is_file(name: str) -> bool:
    try:
        return local_path(name).is_file()
    # A name that no file can have.
    except (OSError, ValueError):
        return False


def _refuse_growth(text: str, what: str) -> None:
    levels = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise RequestError(f"{what} has the alias *{event.anchor}: write its value out")
        levels += isinstance(event, yaml.CollectionStartEvent)
        levels -= isinstance(event, yaml.CollectionEndEvent)
        if levels > MOST_LEVELS:
            raise RequestError(f"{what} is nested deeper than {MOST_LEVELS} levels")


def _refuse_keys(content: Any, what: str) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            if str(key).rpartition(".")[2] in _NO_KEYS:
                raise RequestError(f"{what} has the key {key}: a recipe names no class and no file")
            _refuse_keys(value, what)
    elif isinstance(content, list):
        for value in content:
            _refuse_keys(value, what)
