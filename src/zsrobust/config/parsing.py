"""From recipe files and command-line arguments to a checked configuration.

jsonargparse makes options of the schema's dataclasses, and parses them. Its errors carry a text of
several lines and no key, so what is wrong is found anew from the type hints (``_what_is_wrong``).
"""

from __future__ import annotations

import json
import re
from argparse import Action
from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentError,
    ArgumentParser,
    DefaultHelpFormatter,
)
from jsonargparse.typing import register_type

from zsrobust.config.argv import as_arguments, options_in
from zsrobust.config.recipes import (
    read_recipe,
    recipe_path,
    replaced_method,
    small_model_settings,
    with_method,
)
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.objectives import objective_class
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import described, in_short, misfit, no_option, require

register_type(Eps, serializer=str, deserializer=Eps, deserializer_exceptions=(RequestError,))

# Options of every command.
COMMON = ("debug", "help", "json")
# Lists that are given one by one (`--data A --data B`) or side by side (`--data A B`).
REPEATABLE = ("model", "data", "attack", "eps", "templates")


def finetune_parser(method: str) -> ArgumentParser:
    """The options of ``zsrobust finetune`` for one method.

    Raises:
        RequestError: if the method is unknown.
    """
    parser = _parser(
        "finetune", "Fine-tune a CLIP's image encoder for zero-shot adversarial robustness."
    )
    parser.add_argument("--config", action=ActionConfigFile, help="recipe name or YAML file")
    parser.add_class_arguments(FinetuneConfig, skip={"objective"})
    parser.add_class_arguments(objective_class(method), "objective")
    parser.set_defaults(method=method)
    return parser


def evaluate_parser() -> ArgumentParser:
    """The options of ``zsrobust evaluate``."""
    parser = _parser("evaluate", "Clean and adversarial accuracy of zero-shot models.")
    parser.add_argument("--config", action=ActionConfigFile, help="recipe name or YAML file")
    parser.add_class_arguments(EvaluateConfig)
    return parser


def options_parser(options: type, *, command: str, description: str = "") -> ArgumentParser:
    """The fields of a dataclass as the options of ``zsrobust COMMAND``."""
    parser = _parser(command, description)
    parser.add_class_arguments(options)
    return parser


class _Help(DefaultHelpFormatter):
    """Names types as refusals do, and leaves one out whose values are listed, as in {cpu,cuda}."""

    def _get_type_str(self, action: Action) -> str | None:
        hint = getattr(action, "_typehint", None)
        listed = str(action.metavar).startswith("{")
        return None if hint is None or listed else described(hint)

    def format_help(self) -> str:
        """Without the marks of code in docstrings."""
        return super().format_help().replace("``", "")


def _parser(command: str, description: str) -> ArgumentParser:
    return ArgumentParser(
        prog=f"zsrobust {command}",
        description=description,
        formatter_class=_Help,
        exit_on_error=False,
        allow_abbrev=False,
    )


def parse_finetune(argv: Sequence[str], *, also: Collection[str] = ()) -> FinetuneConfig:
    """A fine-tuning run from command-line arguments.

    Args:
        argv: the arguments.
        also: other options of the command, for the one that a wrong option may stand for.

    Raises:
        RequestError: if an argument, key or value is wrong; one sentence says which.
    """
    argv = _with_recipes_first(_gathered(argv, ("templates", "trackers")), "finetune")
    also = ("config", "dry_run", *also)
    return FinetuneConfig(**_parsed(finetune_parser(_method(argv)), FinetuneConfig, argv, also))


def parse_evaluate(argv: Sequence[str]) -> EvaluateConfig:
    """An evaluation from command-line arguments.

    Raises:
        RequestError: if an argument, key or value is wrong; one sentence says which.
    """
    argv = _with_recipes_first(_gathered(argv, REPEATABLE), "evaluate")
    also = ("config", "dry_run", "compare")
    return EvaluateConfig(**_parsed(evaluate_parser(), EvaluateConfig, argv, also))


def parse_options(
    options: type, argv: Sequence[str], *, command: str, description: str
) -> dict[str, Any]:
    """The fields of a dataclass from the command-line arguments of ``zsrobust COMMAND``.

    Raises:
        RequestError: if an argument, key or value is wrong; one sentence says which.
    """
    parser = options_parser(options, command=command, description=description)
    return _parsed(parser, options, argv)


def recipe(name: str = "pmg_aft", **overrides: Any) -> FinetuneConfig:
    """A fine-tuning run from a recipe and keyword overrides.

    Args:
        name: a packaged recipe or the path of a YAML file.
        overrides: fields of :class:`FinetuneConfig`; nested ones with a dictionary, such as
            ``optimizer={"lr": 1e-4}``.

    Raises:
        RequestError: if the recipe, a key or a value is wrong.
    """
    argv = ["--config", name]
    hints = get_type_hints(FinetuneConfig)
    for key, value in overrides.items():
        text = hints.get(key) is not str or isinstance(value, str | Path)
        require(text, key, repr(value), f"text, as after --{key}")
        argv += as_arguments(key, value)
    return parse_finetune(argv)


def notes_on_method(argv: Sequence[str]) -> list[str]:
    """What a run takes from elsewhere where ``--method`` replaces the method of a recipe."""
    recipes = [value for key, value in options_in(argv) if key == "--config" and value]
    config = parse_finetune(argv)
    return [
        f"{recipe} with {config.method} for its {own}: the objective's options are those of the "
        f"recipe {config.method}, and optimizer.lr is {config.optimizer.lr:g}"
        for recipe in recipes
        if (own := replaced_method(read_recipe(recipe_path(recipe, "finetune")), config.method))
    ]


def finetune_parser_for(argv: Sequence[str]) -> ArgumentParser:
    """The options whose ``--help`` is asked for, whatever else is wrong with the arguments.

    They are those of the method, with the values of a recipe as defaults, on a small model too.
    """
    try:
        recipes, others = _recipes_and_others(argv, "finetune")
        parser = finetune_parser(_method([*recipes, *others]))
    except RequestError:
        return finetune_parser(FinetuneConfig.method)
    return _with_defaults(parser, recipes)


def evaluate_parser_for(argv: Sequence[str]) -> ArgumentParser:
    """The same of ``zsrobust evaluate``."""
    try:
        recipes, _ = _recipes_and_others(argv, "evaluate")
    except RequestError:
        recipes = []
    return _with_defaults(evaluate_parser(), recipes)


def _with_defaults(parser: ArgumentParser, recipes: Sequence[str]) -> ArgumentParser:
    """``parser`` with the values of recipes as defaults, those that fit."""
    hints = {a.dest: a._typehint for a in parser._actions if hasattr(a, "_typehint")}
    for _, key, value in _settings(recipes):
        if key in hints and value is not MISSING and not misfit(key, value, hints[key]):
            parser.set_defaults({key: value})
    return parser


def _parsed(
    parser: ArgumentParser, options: type, argv: Sequence[str], also: Collection[str] = ()
) -> dict[str, Any]:
    _refuse_classes(parser, argv)
    argv = _with_values(parser, argv)
    try:
        found = parser.instantiate(parser.parse_args(argv)).as_dict()
    except (ArgumentError, TypeError, ValueError) as error:
        wrong = _what_is_wrong(parser, options, argv, also)
        raise RequestError(wrong or in_short(str(error), 600)) from None
    return {key: value for key, value in found.items() if key != "config"}


def _what_is_wrong(
    parser: ArgumentParser, options: type, argv: Sequence[str], also: Collection[str]
) -> str | None:
    """The first of the arguments and recipe keys that does not fit the options, as a sentence."""
    hints = {a.dest: a._typehint for a in parser._actions if hasattr(a, "_typehint")}
    needed = {
        field.name
        for field in fields(options)
        if field.default is MISSING and field.default_factory is MISSING
    }
    before = ""
    for dashes, key, value in _settings(argv):
        if not dashes and value is MISSING:
            if re.match("-[A-Za-z]", key):
                return no_option(key, [*hints, *also, *COMMON])
            if before:
                return f"{before} and {in_short(key)} are given"
            return f"{in_short(key)} belongs to no option: write --KEY VALUE"
        before = f"--{key} takes one value, and {in_short(str(value))}" if dashes else ""
        if key not in hints:
            known = [*hints, *also, *COMMON] if dashes else list(hints)
            kind, listed = ("option", f"see {parser.prog} --help") if dashes else ("key", "")
            return no_option(f"{dashes}{key}", known, kind=kind, help=listed)
        if value is MISSING:
            return f"{dashes}{key} needs a value"
        if wrong := misfit(key, value, hints[key]):
            return wrong
        needed.discard(key)
    return f"missing: {', '.join(f'--{key}' for key in sorted(needed))}" if needed else None


def _settings(argv: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Every value that is given: ``--`` for an option and nothing for a recipe, its key, itself."""
    for key, text in options_in(argv):
        if key == "--config" and isinstance(text, str):
            yield from (("", name, value) for name, value in _flat(read_recipe(Path(text))))
        elif not isinstance(text, str) or not key:
            yield key[:2], key[2:] or str(text), MISSING
        else:
            yield "--", key[2:], _value(text)


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(text: str) -> Any:
    # A long value is a list in JSON, from ``_gathered``, for which YAML's parser takes seconds.
    read = yaml.safe_load if len(text) < 1000 else json.loads
    try:
        return read(text) if text.strip() else text
    except (ValueError, yaml.YAMLError, RecursionError):
        return text


def _refuse_classes(parser: ArgumentParser, argv: Sequence[str]) -> None:
    """Refuse a plain value where a group of options belongs.

    The parser would take it for the name of a class, and import its module to see.
    """
    groups = {action.dest.split(".")[0] for action in parser._actions if "." in action.dest}
    for option, value in options_in(argv):
        if option == "--config" and isinstance(value, str):
            for group, content in read_recipe(Path(value)).items():
                plain = group in groups and not isinstance(content, dict)
                require(not plain, group, in_short(content), "keys and values")
        group = re.sub(r"\W+$", "", option.removeprefix("--"))
        if group in groups:
            require(False, group, repr(in_short(value)), f"given key by key, as in --{group}.KEY")


def _with_values(parser: ArgumentParser, argv: Sequence[str]) -> list[str]:
    """``--sanity`` for ``--sanity=true``, and so for every option that is true or false."""
    switches = {f"--{a.dest}" for a in parser._actions if getattr(a, "_typehint", None) is bool}
    following = [*argv, "--"][1:]
    return [
        f"{argument}=true" if argument in switches and then.startswith("--") else argument
        for argument, then in zip(argv, following, strict=True)
    ]


def _gathered(argv: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Turn repeated and side-by-side values of list options into one JSON list each."""
    others: list[str] = []
    values: dict[str, list[str]] = {}
    key = None
    for argument in argv:
        if key is None and others and others[-1].startswith("--") and re.match(r"-[\d.]", argument):
            # argparse takes a negative number for an option; the key's own check refuses it well.
            others[-1] += f"={argument}"
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        if re.match("--|-[A-Za-z]", argument):
            key = name if name in keys and argument.startswith("--") else None
            if key is None:
                others.append(argument)
            else:
                values.setdefault(key, []).extend([value] if equals else [])
        elif key is not None:
            values[key].append(argument)
        else:
            others.append(argument)
    for key, items in values.items():
        is_list = len(items) == 1 and items[0].startswith("[") and items[0].endswith("]")
        others.append(f"--{key}={items[0] if is_list else json.dumps(items)}")
    return others


def _with_recipes_first(argv: Sequence[str], command: str) -> list[str]:
    """The arguments, with recipes as files before the options, which override them."""
    recipes, others = _recipes_and_others(argv, command)
    return recipes + others


def _recipes_and_others(argv: Sequence[str], command: str) -> tuple[list[str], list[str]]:
    """Recipes as files, and the other arguments.

    A packaged recipe of fine-tuning is followed by what it changes for an embedded small model.
    """
    recipes: list[str] = []
    others: list[str] = []
    for argument in argv:
        if others and others[-1] == "--config" and not argument.startswith("--"):
            others.pop()
            recipes.append(argument)
        elif argument.startswith("--config="):
            recipes.append(argument.removeprefix("--config="))
        else:
            others.append(argument)
    options = dict(options_in(others))
    front: list[str] = []
    method = options.get("--method") or ""
    for recipe in recipes:
        path = recipe_path(recipe, command)
        replacing = method if replaced_method(read_recipe(path), method) else ""
        if replacing:
            front += as_arguments("", with_method(read_recipe(path), replacing))
        else:
            front.append(f"--config={path}")
        if command == "finetune" and str(path) != recipe:
            model = options.get("--model") or ""
            front += as_arguments("", small_model_settings(recipe, model, replacing))
    if recipes and "--epochs" in options and "--steps" not in options:
        # A recipe's steps would replace the epochs that are asked for.
        front.append("--steps=null")
    return front, others


def _method(argv: Sequence[str]) -> str:
    """The method that arguments and recipe ask for: it decides which options there are."""
    method = FinetuneConfig.method
    for option, value in options_in(argv):
        if option == "--config" and isinstance(value, str):
            method = read_recipe(Path(value)).get("method", method)
        elif option == "--method" and value:
            method = value
    return str(method)
