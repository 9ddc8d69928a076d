"""``zoo:NAME``: public robust CLIPs by a short name, and what ``zsrobust models`` says of models.

The facts are in ``zoo.yaml``. Nothing here imports torch, so that a list needs no second.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import nearest

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel

ZOO = "zoo:"
RADII = ("1/255", "2/255", "4/255")
"""At which lists show what is claimed."""
SHOWN = 4
"""Names that a sentence lists at most."""


@dataclass(frozen=True)
class Claims:
    """Accuracies that the authors of a model print, in per cent.

    Attributes:
        clean: on unchanged images.
        robust: under ``attack``, by L-inf radius as text.
        over: the data sets that each is the average of.
        attack: what was run.
        source: where it is printed.
    """

    clean: float
    robust: Mapping[str, float]
    over: tuple[str, ...]
    attack: str
    source: str

    def __str__(self) -> str:
        under = ", ".join(f"{value:.1f} at {eps}" for eps, value in self.robust.items())
        return f"{self.clean:.1f} clean; under attack {under}; averages over {len(self.over)} sets"


@dataclass(frozen=True)
class Entry:
    """A model that has a name here.

    Attributes:
        name: what ``--model`` takes: an embedded model's name, or ``zoo:`` and a name.
        architecture: open_clip's name where it has one.
        px: side of the images that the encoder takes, in pixels.
        method: how the image encoder was made robust; ``none`` for not at all.
        eps: L-inf radius of that, as text; ``not stated`` where its authors do not say it.
        trained_on: data sets of the fine-tuning, as results name them where this package has them.
        licence: in a few words.
        load: the name that it is loaded by; its own where it is embedded.
        base: what it was fine-tuned from, if its text encoder is still that one's; else empty.
        preprocessing: a protocol of ``protocols.PROTOCOLS``; empty for that of ``load``.
        paper, card: where to read about it.
        note: what else a user should know.
        claims: what its authors found; None where they print no zero-shot accuracy that was read.
    """

    name: str
    architecture: str
    px: int
    method: str
    eps: str
    trained_on: tuple[str, ...]
    licence: str
    load: str = ""
    base: str = ""
    preprocessing: str = ""
    paper: str = ""
    card: str = ""
    note: str = ""
    claims: Claims | None = None

    @property
    def label(self) -> str:
        """The method with its radius, as results show it."""
        return self.method if self.eps in ("none", "not stated") else f"{self.method} {self.eps}"

    @property
    def claimed(self) -> list[str]:
        """Clean accuracy and that at each of ``RADII``, as its authors print them; else empty."""
        if self.claims is None:
            return ["", *("" for _ in RADII)]
        robust = self.claims.robust
        return [
            f"{self.claims.clean:.1f}",
            *(f"{robust[r]:.1f}" if r in robust else "" for r in RADII),
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@functools.cache
def entries() -> dict[str, Entry]:
    """Every model by the name that ``--model`` takes, the embedded ones first."""
    text = Path(__file__).with_name("zoo.yaml").read_text("utf-8")
    # Eight times as fast, where PyYAML was built with libyaml.
    groups = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text).get_single_data()
    prefixes = {"embedded": "", "zoo": ZOO}
    found = [
        _entry(prefixes[group] + name, fields)
        for group, models in groups.items()
        for name, fields in models.items()
    ]
    return {entry.name: entry for entry in found}


def _entry(name: str, fields: dict[str, Any]) -> Entry:
    claims = fields.pop("claims", None)
    if claims is not None:
        claims = Claims(**{**claims, "over": tuple(claims["over"].split(", "))})
    fields["trained_on"] = tuple(fields["trained_on"])
    return Entry(name=name, **{"load": name, **fields}, claims=claims)


def entry_of(name: str) -> Entry:
    """The entry of ``zoo:NAME``, of an embedded model, or of a zoo model's name alone.

    Raises:
        RequestError: if there is none, with the nearest name.
    """
    known = entries()
    if found := known.get(name) or known.get(f"{ZOO}{name}"):
        return found
    begun = [one for one in known if one.removeprefix(ZOO).startswith(name.removeprefix(ZOO))]
    near = begun[:SHOWN] or [nearest(one, known) or "" for one in (name, f"{ZOO}{name}")]
    meant = " or ".join(dict.fromkeys(filter(None, near)))
    hint = f"did you mean {meant}?" if meant else "zsrobust models lists them"
    raise RequestError(f"there is no model {name!r}: {hint}")


def load_zoo(name: str, load: Callable[..., CLIPModel], preprocessing: str | None) -> CLIPModel:
    """The model ``zoo:NAME``, by the loader that its entry names.

    Its source is what it was fine-tuned from, as a run's is, so that the original is evaluated
    beside it; where it has a text encoder of its own, its source is itself.

    Args:
        name: with ``zoo:``.
        load: loads any other name; takes ``preprocessing``.
        preprocessing: a protocol instead of the model's own.

    Raises:
        RequestError: if there is no such entry, or the model cannot be had.
    """
    entry = entry_of(name)
    try:
        model = load(entry.load, preprocessing=preprocessing or entry.preprocessing or None)
    except RequestError as reason:
        raise RequestError(f"{name}: {reason}") from reason
    return replace(
        model,
        name=name,
        source=entry.base or name,
        method=entry.label if entry.base else model.method,
        seen=model.seen | set(entry.trained_on),
    )
