"""The page of commands, from the parsers themselves: what they say is what the page says."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

PAGE = "cli.md"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str | None:
    """Put every command below what the page says."""
    return markdown + "\n" + reference() if page.file.src_uri == PAGE else None


def reference() -> str:
    """A section a command, in the order of ``zsrobust --help``."""
    from zsrobust.cli.commands import COMMANDS
    from zsrobust.cli.completion import OPTIONS
    from zsrobust.cli.data import USAGE as DATA_USAGE
    from zsrobust.cli.main import USAGE
    from zsrobust.config.parsing import recipe_titles
    from zsrobust.config.schema import FinetuneConfig
    from zsrobust.objectives import OBJECTIVES
    from zsrobust.reproduce.options import USAGE as REPRODUCE_USAGE
    from zsrobust.sweep.request import USAGE as SWEEP_USAGE

    usages = {"data": DATA_USAGE, "sweep": SWEEP_USAGE, "reproduce": REPRODUCE_USAGE}
    parts = []
    for command in COMMANDS:
        (summary,) = re.findall(rf"^  {command} +(.+)$", USAGE, re.MULTILINE)
        parts += [f"## zsrobust {command}", f"{summary[0].upper()}{summary[1:]}."]
        if command in usages:
            parts.append(f"```text\n{usages[command]}\n```")
            continue
        parsers = list(OPTIONS.get(command, tuple)())
        if command == "finetune":
            usual = parsers[list(OBJECTIVES).index(FinetuneConfig.method)]
            parts.append(table(action for action in options([usual]) if not _own(action)))
            for method, parser in zip(OBJECTIVES, parsers, strict=True):
                if own := [action for action in options([parser]) if _own(action)]:
                    parts += [f"### --method {method}", table(own)]
        elif parsers:
            parts.append(table(options(parsers)))
    for command in ("finetune", "evaluate"):
        parts.append(f"## Recipes of zsrobust {command}")
        titles = recipe_titles(command).items()
        parts.append(rows(("--config", "what"), ((f"`{n}`", escaped(t)) for n, t in titles)))
    return "\n\n".join(parts)


def options(parsers: Iterable[argparse.ArgumentParser]) -> Iterator[argparse.Action]:
    """Every option and place, but for those that only group others, and for ``--help``."""
    for parser in parsers:
        for action in parser._actions:
            if action.dest != "help" and action.metavar != "CONFIG":
                yield action


def _own(action: argparse.Action) -> bool:
    return action.dest.startswith("objective.")


def table(actions: Iterable[argparse.Action]) -> str:
    """A line an option: its name, what it is when it is left out, and what it means."""
    return rows(("option", "default", "what"), map(_line, actions))


def _line(action: argparse.Action) -> tuple[str, str, str]:
    name = ", ".join(f"`{option}`" for option in action.option_strings if option[-1] != "+")
    what = escaped(action.help or "")
    choices = list(action.choices or ())
    if not choices and action.metavar and str(action.metavar).startswith("{"):
        choices = str(action.metavar).strip("{}").split(",")
    if choices and choices != ["true", "false"]:
        what = f"{what} One of {', '.join(f'`{choice}`' for choice in choices)}.".lstrip()
    return name or f"`{action.metavar or action.dest.upper()}`", _default(action), what


def _default(action: argparse.Action) -> str:
    value: Any = action.default
    if action.required:
        return "required"
    if value is None or value == [] or value == argparse.SUPPRESS:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def rows(headings: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    headings = tuple(headings)
    under = ["---"] * len(headings)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, under, *lines))


def escaped(text: str) -> str:
    """``text`` on one line of a table: bars and asterisks are no markup, ticks are single."""
    line = " ".join(text.replace("%%", "%").replace("``", "`").split())
    return line.replace("|", r"\|").replace("*", r"\*")
