"""An adapter as a run asks for it: a kind, and the options of that kind.

:class:`Adapter` is put together from the registered kinds, so that an option is declared once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, make_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from docstring_parser import parse

from zsrobust.models.adapters.base import ADAPTERS, AdapterKind
from zsrobust.utils.validation import check_types, require

# Every kind registers itself when its module is imported.
for _module in iter_modules([str(Path(__file__).parent)]):
    import_module(f"{__package__}.{_module.name}")


BLANK_LINE = "\n\n"


@dataclass(frozen=True)
class _Choice:
    """The methods of :class:`Adapter`."""

    # jsonargparse takes a dataclass for a group of options only where its bases are dataclasses.
    kind: str = "full"

    def __post_init__(self) -> None:
        check_types(self, "adapter.")
        own = {field.name for field in fields(_of(self.kind))}
        for key, value in self.options.items():
            allowed = f"left out, or null: adapter.kind {self.kind} has no such option"
            require(key in own, f"adapter.{key}", value, allowed)
        # Filled in, so that a recorded run says what it was run with.
        for key, value in vars(self.made).items():
            object.__setattr__(self, key, value)

    @property
    def options(self) -> dict[str, Any]:
        """The options that have a value, by name."""
        return {
            key: value for key, value in vars(self).items() if key != "kind" and value is not None
        }

    @property
    def made(self) -> AdapterKind:
        """The adapter itself."""
        made: AdapterKind = _of(self.kind)(**self.options)
        return made


def _of(kind: str) -> Any:
    return ADAPTERS[kind]


def _sentence(text: str) -> str:
    """Text of a docstring on one line, for ``--help``."""
    return " ".join(text.replace("``", "").split()).rstrip(".")


def _declare() -> Any:
    """The dataclass with the field ``kind`` and every option of every kind, None by default."""
    types: dict[str, Any] = {}
    help_of: dict[str, list[str]] = {}
    for kind, declared in ADAPTERS.items():
        hints = get_type_hints(declared)
        described = {one.arg_name: one.description for one in parse(declared.__doc__ or "").params}
        for field in fields(_of(kind)):
            types[field.name] = hints[field.name] | None
            text = _sentence(described[field.name] or "")
            help_of.setdefault(field.name, []).append(f"{kind}: {text} (default {field.default})")
    lines = [f"{name}: {'; '.join(texts)}." for name, texts in help_of.items()]
    kinds = (
        f"{kind}: {_sentence(str(one.__doc__).split(BLANK_LINE)[0])}"
        for kind, one in ADAPTERS.items()
    )
    lines.insert(0, f"kind: which parameters are trained. {'; '.join(kinds)}.")
    doc = "\n        ".join(lines)
    return make_dataclass(
        "Adapter",
        [
            ("kind", Literal[tuple(ADAPTERS)], "full"),
            *((name, hint, None) for name, hint in types.items()),
        ],
        bases=(_Choice,),
        frozen=True,
        namespace={
            "__module__": __name__,
            "__doc__": f"""What of the image encoder is trained.

    An option that is left out has its kind's default.

    Attributes:
        {doc}

    Raises:
        RequestError: if an option is out of range, or not one of the kind.
    """,
        },
    )


if TYPE_CHECKING:

    class Adapter(_Choice):
        """What of the image encoder is trained; its fields are those of every kind."""

        def __init__(self, kind: str = "full", **options: float | None) -> None: ...

else:
    Adapter = _declare()
