"""MkDocs hook: the reference of all commands, generated from their parsers."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

PAGE = "cli.md"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str | None:
    """Append the reference to the page."""
    return markdown + "\n" + reference() if page.file.src_uri == PAGE else None


def reference() -> str:
    """A section per command, in the order of ``zsrobust --help``."""
    from zsrobust.cli.commands import command_module, command_names
    from zsrobust.config.recipes import recipe_titles
    from zsrobust.objectives import OBJECTIVES

    parts = []
    for command in command_names():
        module = command_module(command)
        parts += [f"## zsrobust {command}", inspect.getdoc(module) or ""]
        if usage := getattr(module, "USAGE", None):
            parts.append(f"```text\n{usage}\n```")
        elif command == "finetune":
            parsers = dict(zip(OBJECTIVES, module.parsers(), strict=True))
            shared = options(parsers["pmg_aft"])
            parts.append(table(action for action in shared if not _own(action)))
            for method, parser in parsers.items():
                if own := [action for action in options(parser) if _own(action)]:
                    parts += [f"### --method {method}", table(own)]
        else:
            [parser] = module.parsers()
            for action in parser._actions:
                if isinstance(action, argparse._SubParsersAction):
                    for name, below in action.choices.items():
                        parts += [f"### {command} {name}", table(options(below))]
                    break
            else:
                parts.append(table(options(parser)))
    for command in ("finetune", "evaluate"):
        parts.append(f"## Recipes of zsrobust {command}")
        titles = recipe_titles(command).items()
        parts.append(rows(("--config", "what"), ((f"`{n}`", escaped(t)) for n, t in titles)))
    return "\n\n".join(parts)


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and positional, without option groups and ``--help``."""
    for action in parser._actions:
        if action.dest != "help" and action.metavar != "CONFIG":
            yield action


def _own(action: argparse.Action) -> bool:
    return action.dest.startswith("objective.")


def table(actions: Iterable[argparse.Action]) -> str:
    """A row per option: name, default and description."""
    return rows(("option", "default", "what"), map(_line, actions))


def _line(action: argparse.Action) -> tuple[str, str, str]:
    name = ", ".join(f"`{option}`" for option in action.option_strings if option[-1] != "+")
    what = escaped(action.help or "")
    choices = list(action.choices or ())
    if not choices and action.metavar and str(action.metavar).startswith("{"):
        choices = str(action.metavar).strip("{}").split(",")
    if choices and choices != ["true", "false"]:
        one_of = f"One of {', '.join(f'`{choice}`' for choice in choices)}."
        what = f"{what.removesuffix('.')}. {one_of}" if what else one_of
    return name or f"`{action.metavar or action.dest.upper()}`", _default(action), what


def _default(action: argparse.Action) -> str:
    value: Any = action.default
    if action.required:
        return "required"
    if value is None or value == [] or value == argparse.SUPPRESS:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def rows(headings: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    headings = tuple(headings)
    under = ["---"] * len(headings)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, under, *lines))


def escaped(text: str) -> str:
    """``text`` as a table cell: one line, bars and asterisks escaped, backticks single."""
    line = " ".join(text.replace("%%", "%").replace("``", "`").split())
    return line.replace("|", r"\|").replace("*", r"\*")
