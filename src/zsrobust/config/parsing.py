"""From recipe files and command-line words to a checked configuration."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jsonargparse import (  # type: ignore[attr-defined]
    ActionConfigFile,
    ArgumentError,
    ArgumentParser,
)
from jsonargparse.typing import register_type

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.objectives import OBJECTIVES, objective_class
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path
from zsrobust.utils.plain_yaml import read_plain_yaml
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import in_short, require

register_type(Eps, serializer=str, deserializer=Eps, deserializer_exceptions=(RequestError,))

# Lists that are given one by one (`--data A --data B`) or side by side (`--data A B`).
REPEATABLE = ("model", "data", "attack", "eps", "templates")


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
        raise RequestError(
            f"--config {in_short(name)} is neither a file nor a recipe: recipes are "
            f"{', '.join(recipe_names(command))}"
        )
    return Path(str(resources.files("zsrobust") / "recipes" / command / f"{name}.yaml"))


def _is_file(name: str) -> bool:
    try:
        return local_path(name).is_file()
    # A name that no file can have.
    except (OSError, ValueError):
        return False


def recipe_titles(command: str) -> dict[str, str]:
    """The packaged recipes of a command, and what the first line of each says it is."""
    firsts = {
        name: recipe_path(name, command).read_text(encoding="utf-8").partition("\n")[0]
        for name in recipe_names(command)
    }
    return {name: first.removeprefix("# ") for name, first in firsts.items()}


def finetune_parser(method: str) -> ArgumentParser:
    """The options of ``zsrobust finetune`` for one method.

    Raises:
        RequestError: if the method is unknown.
    """
    parser = ArgumentParser(
        prog="zsrobust finetune",
        description="Fine-tune a CLIP's image encoder for zero-shot adversarial robustness.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="recipe name or YAML file")
    parser.add_class_arguments(FinetuneConfig, skip={"objective"})
    parser.add_class_arguments(objective_class(method), "objective")
    parser.set_defaults(method=method)
    return parser


def evaluate_parser() -> ArgumentParser:
    """The options of ``zsrobust evaluate``."""
    parser = ArgumentParser(
        prog="zsrobust evaluate",
        description="Clean and adversarial accuracy of zero-shot models.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="recipe name or YAML file")
    parser.add_class_arguments(EvaluateConfig)
    return parser


def parse_finetune(words: Sequence[str]) -> FinetuneConfig:
    """A fine-tuning run from command-line words.

    Raises:
        RequestError: if a word, key or value is wrong; one sentence says which.
    """
    words = _with_recipe_paths(_gathered(words, ("templates",)), "finetune")
    parsed = _parsed(finetune_parser(_method(words)), words)
    return FinetuneConfig(**parsed)


def parse_evaluate(words: Sequence[str]) -> EvaluateConfig:
    """An evaluation from command-line words.

    Raises:
        RequestError: if a word, key or value is wrong; one sentence says which.
    """
    words = _with_recipe_paths(_gathered(words, REPEATABLE), "evaluate")
    return EvaluateConfig(**_parsed(evaluate_parser(), words))


def options_parser(options: type, *, command: str, description: str = "") -> ArgumentParser:
    """The fields of a dataclass as the options of ``zsrobust COMMAND``."""
    parser = ArgumentParser(
        prog=f"zsrobust {command}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_class_arguments(options)
    return parser


def parse_options(
    options: type, words: Sequence[str], *, command: str, description: str
) -> dict[str, Any]:
    """The fields of a dataclass from the command-line words of ``zsrobust COMMAND``.

    Raises:
        RequestError: if a word, key or value is wrong; one sentence says which.
    """
    return _parsed(options_parser(options, command=command, description=description), words)


def recipe(name: str = "pmg_aft", **overrides: Any) -> FinetuneConfig:
    """A fine-tuning run from a recipe and keyword overrides.

    Args:
        name: a packaged recipe or the path of a YAML file.
        overrides: fields of :class:`FinetuneConfig`; nested ones with a dictionary, such as
            ``optimizer={"lr": 1e-4}``.

    Raises:
        RequestError: if the recipe, a key or a value is wrong.
    """
    words = ["--config", name]
    for key, value in overrides.items():
        words += _as_words(key, value)
    return parse_finetune(words)


def _as_words(key: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [word for part, inner in value.items() for word in _as_words(f"{key}.{part}", inner)]
    plain = isinstance(value, str | Path | Eps)
    return [f"--{key}={value if plain else json.dumps(value)}"]


def _parsed(parser: ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    _refuse_classes(parser, words)
    try:
        given = parser.parse_args(_with_values(parser, words))
        found = parser.instantiate(given).as_dict()
    except (ArgumentError, TypeError, ValueError) as error:
        raise RequestError(_sentence(str(error), parser)) from None
    return {key: value for key, value in found.items() if key != "config"}


def _refuse_classes(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Refuse a plain value where a group of options belongs.

    The parser would take it for the name of a class, and import its module to see.
    """
    groups = {action.dest.split(".")[0] for action in parser._actions if "." in action.dest}
    for name, value in _pairs(words):
        if name == "--config":
            for group, content in _read_yaml(Path(value)).items():
                plain = group in groups and not isinstance(content, dict)
                require(not plain, group, in_short(content), "keys and values")
        group = re.sub(r"\W+$", "", name.removeprefix("--"))
        if name.startswith("--") and group in groups:
            require(False, group, repr(in_short(value)), f"given key by key, as in --{group}.KEY")


def _with_values(parser: ArgumentParser, words: Sequence[str]) -> list[str]:
    """``--sanity`` for ``--sanity=true``, and so for every option that is true or false."""
    switches = {f"--{a.dest}" for a in parser._actions if getattr(a, "_typehint", None) is bool}
    following = [*words, "--"][1:]
    return [
        f"{word}=true" if word in switches and then.startswith("--") else word
        for word, then in zip(words, following, strict=True)
    ]


# What jsonargparse says, and how it reads in one sentence.
_REWORDINGS = (
    (r'Parser key "([^"]+)":? ', r"\1: "),
    (r"<class '[\w.]+\.Eps'>", "0 or more, such as 1/255 or 0.0039"),
    (r"<class 'bool'>", "true or false"),
    (r"<class '(\w+)'>|typing\.Literal", lambda found: found[1] or "one of "),
    (
        r"^(\S+): Problem with given class_path '[^']+': Option '(.+)' is not accepted$",
        r"there is no key \2 in \1",
    ),
    (
        r"^(\S+): Problem with given class_path .*arguments are required: (.*)$",
        r"missing: \2 in \1",
    ),
    (r"^(\S+): Problem with given class_path '[^']+': (\w+): ", r"\1.\2: "),
    (r"^(\S+): Expected an? (.+)\. Got value: ?(.*)$", r"\1 is \3: must be \2"),
    (r"^(\S+): Not of type Eps: (.*)$", r"\1: \2"),
    (
        r"^(\S+): Does not validate .* Subtypes: \[(.*?), NoneType\] Errors:.* value: ?(.*)$",
        r"\1 is \3: must be \2, or null",
    ),
    (r"^(\S+?):?(?: is)? NestedArg\(key='([^']*)'.*$", r"there is no key \1.\2"),
    (r"^unrecognized arguments: (.*)$", r"there is no option \1"),
    (r"^Group '(.+)' does not accept option '(.+)'", r"there is no key \1.\2"),
    (r"^Option '(.+)' is not accepted$", r"there is no key \1"),
    (r"^the following arguments are required: (.*)$", r"missing: --\1"),
)


def _sentence(message: str, parser: ArgumentParser) -> str:
    """What the parser found wrong, in one line, with the nearest right key where one is near."""
    line = in_short(message, 600)
    for pattern, reworded in _REWORDINGS:
        line = re.sub(pattern, reworded, line)
    if not line.startswith("there is no"):
        return line
    wrong = line.split()[4].lstrip("-").split("=")[0]
    keys = [action.dest for action in parser._actions]
    near = difflib.get_close_matches(wrong, keys, n=1, cutoff=0.7)
    return f"{line}; did you mean {near[0]}?" if near and near[0] not in wrong else line


def _gathered(words: Sequence[str], keys: Sequence[str]) -> list[str]:
    """Turn repeated and side-by-side values of list options into one JSON list each."""
    kept: list[str] = []
    values: dict[str, list[str]] = {}
    key = None
    for word in words:
        if key is None and kept and kept[-1].startswith("--") and re.match(r"-[\d.]", word):
            # argparse takes a negative number for an option; the key's own check refuses it well.
            kept[-1] += f"={word}"
            continue
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--"):
            key = name if name in keys else None
            if key is None:
                kept.append(word)
            else:
                values.setdefault(key, []).extend([value] if equals else [])
        elif key is not None:
            values[key].append(word)
        else:
            kept.append(word)
    for key, items in values.items():
        whole = len(items) == 1 and items[0].startswith("[") and items[0].endswith("]")
        kept.append(f"--{key}={items[0] if whole else json.dumps(items)}")
    return kept


def _with_recipe_paths(words: Sequence[str], command: str) -> list[str]:
    """Put the file of a packaged recipe where its name stands."""
    paths: list[str] = []
    for word in words:
        if paths and paths[-1] == "--config":
            word = str(recipe_path(word, command))
        elif word.startswith("--config="):
            word = f"--config={recipe_path(word.removeprefix('--config='), command)}"
        paths.append(word)
    return paths


def method_for_help(argv: Sequence[str]) -> str:
    """The method whose options ``--help`` lists, whatever else is wrong with the arguments."""
    try:
        method = _method(_with_recipe_paths(argv, "finetune"))
    except RequestError:
        return FinetuneConfig.method
    return method if method in OBJECTIVES else FinetuneConfig.method


def _method(words: Sequence[str]) -> str:
    """The method that words and recipe ask for: it decides which options there are."""
    method = FinetuneConfig.method
    for name, value in _pairs(words):
        if name == "--config":
            method = _read_yaml(Path(value)).get("method", method)
        elif name == "--method":
            method = value
    return str(method)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each word as an option and its value, both in ``--key=value``, and else with the one before.

    So every value comes with its option, and a word alone may come with none that is one.
    """
    last = ""
    for word in words:
        name, equals, value = word.partition("=")
        yield (name, value) if equals else (last, word)
        last = word


def _read_yaml(path: Path) -> dict[str, Any]:
    return read_plain_yaml(path, f"--config {path}")
