"""The published data sets, read from ``sets.yaml``: one entry a set."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from zsrobust.data.image_set import ImageSet

MINIATURE = "MINIATURE.txt"
"""File in the own folder of a set that ``miniature`` wrote."""
SYNTHETIC = "synthetic images in miniature, no results"


@dataclass(frozen=True)
class PublishedSet:
    """What is known of a published set before any of its files is read.

    Attributes:
        kind: its word after ``--data``.
        title: its name as its authors write it.
        classes: number of classes.
        counts: images in each split. ``train`` and ``test`` of a set with ``own_split`` are ours.
        source: the page it is published on; the counts are that page's or torchvision's.
        licence: in a few words, as its authors put it.
        places: where the set's own folder may lie, relative to PATH; PATH may be that folder too if
            it has its name, or any name where ``.`` is listed.
        needs: what that folder must hold for the test split, relative to it.
        train, test: the split that fine-tuning and evaluation take unless told otherwise.
        reader: ``class_folders``, ``split_folders`` (class folders in a folder for each split), or
            a name in ``readers.READERS``; by default ``kind``.
        gigabytes: size of the download in GB (1e9 bytes), about; None where not known.
        native: side in pixels if attacks are defined on the stored pixels; None where images are
            brought to the model's input size first.
        own_split: whether the set has no test split of its own, so that ``train`` (80 %) and
            ``test`` (20 %) are this package's.
        torchvision: torchvision's class that downloads it; empty where there is none or where its
            download no longer works.
        url: an archive to download where torchvision has none, or does not check its own.
        steps: what a person has to do where nothing can be downloaded by this package.
        account: whether an account is needed.
        checksums: MD5 of files as published, by path below PATH.
        note: what else a reader of its numbers should know.
        paper_template: the prompt of PMG-AFT's script; empty for the model's default.
        clip_templates: OpenAI's prompts; empty for the model's default.
    """

    kind: str
    title: str
    classes: int
    counts: Mapping[str, int]
    source: str
    licence: str
    places: tuple[str, ...]
    needs: tuple[str, ...]
    train: str = "train"
    test: str = "test"
    reader: str = ""
    gigabytes: float | None = None
    native: int | None = None
    own_split: bool = False
    torchvision: str = ""
    url: str = ""
    steps: str = ""
    account: bool = False
    checksums: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    paper_template: str = ""
    clip_templates: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """What PATH must hold, and how to get it: the end of an error sentence."""
        needed = " and ".join((Path(self.places[0]) / part).as_posix() for part in self.needs)
        return f"{needed} (zsrobust data prepare {self.kind} fetches it or says how)"

    def locate(self, path: Path, *, by_name: bool = False) -> Path | None:
        """The set's own folder at or below ``path``; None if it is not there.

        ``by_name`` looks for folders of the set's own name alone, as where many sets lie together.
        """
        itself = [path] if path.name == self.places[0] else []
        folders = [*itself, *(path / place for place in self.places if place != "." or not by_name)]
        for folder in folders:
            if all((folder / part).exists() for part in self.needs):
                return folder
        return None

    def below(self, root: Path) -> Path | None:
        """The set's own folder in ``root/<kind>``, or where ``root`` holds it itself."""
        return self.locate(root / self.kind) or self.locate(root, by_name=True)


@functools.cache
def published_groups() -> dict[str, dict[str, PublishedSet]]:
    """The sets by group, ``paper16`` and ``further``, and kind."""
    text = Path(__file__).with_name("sets.yaml").read_text("utf-8")
    # Eight times as fast, where PyYAML was built with libyaml.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    groups: dict[str, dict[str, dict[str, Any]]] = loader(text).get_single_data()
    return {
        group: {kind: _published_set(kind, entry) for kind, entry in entries.items()}
        for group, entries in groups.items()
    }


def _published_set(kind: str, entry: dict[str, Any]) -> PublishedSet:
    lists = {key: tuple(value) for key, value in entry.items() if isinstance(value, list)}
    return PublishedSet(kind=kind, **{"reader": kind, **entry, **lists})


@functools.cache
def published_sets() -> dict[str, PublishedSet]:
    """Every published set by kind, the sixteen of PMG-AFT's tables first."""
    return {kind: known for group in published_groups().values() for kind, known in group.items()}


def paper_sets() -> tuple[PublishedSet, ...]:
    """The sixteen sets of PMG-AFT's tables: TinyImageNet first, then the fifteen unseen ones."""
    return tuple(published_groups()["paper16"].values())


def synthetic(kind: str, path: Path) -> tuple[str, ...]:
    """A note where the set at or below ``path`` is one that ``miniature`` wrote."""
    folder = published_sets()[kind].locate(path)
    return (f"{kind}: {SYNTHETIC}",) if folder and (folder / MINIATURE).is_file() else ()


def shortfall(images: ImageSet) -> str:
    """In how many images the split of a published set differs from the published one, in a line.

    Empty where it does not, for a set of one's own, and for one that is synthetic.
    """
    if any(SYNTHETIC in note for note in images.notes):
        return ""
    known = published_sets().get(images.origin)
    published = known.counts.get(images.split) if known else None
    if known is None or published in (None, len(images)):
        return ""
    classes = len(images.class_names)
    has, of = (
        f" of {n} classes" if classes != known.classes else "" for n in (classes, known.classes)
    )
    return (
        f"{images.name}/{images.split} has {len(images)} images{has}, the published one "
        f"{published}{of}"
    )
