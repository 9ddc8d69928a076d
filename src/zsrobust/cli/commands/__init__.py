"""The commands of ``zsrobust``, one module each, under the command's own name.

The first line of a module's docstring is the command's help. A module has two functions:

``parsers()``
    The parsers of its options, for the reference page and shell completion: usually one.
``run(argv, output)``
    Parses ``argv``, the arguments behind the command's name, and does the work. It writes through
    ``output``, and raises a ``ZSRobustError`` for what is wrong.

A module in this folder is a command without being named anywhere else. It imports torch, and what
imports torch, only in ``run``, after everything that can be refused without it.
"""

from __future__ import annotations

import ast
from importlib import import_module, resources
from pkgutil import iter_modules
from types import ModuleType


def command_names() -> list[str]:
    """The names of all commands, in alphabetical order."""
    return sorted(module.name for module in iter_modules(__path__))


def command_module(name: str) -> ModuleType:
    """The module of one command; the others are not imported."""
    return import_module(f"{__name__}.{name}")


def summary(name: str) -> str:
    """The first line of a command's docstring, read from its source: importing all takes longer."""
    source = resources.files(__name__).joinpath(f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0].rstrip(".")
