"""Whether a published set on disk is whole: counts, classes, readable images, checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.sets import PublishedSet
from zsrobust.data.registry import kinds
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class Verdict:
    """What was found of one split or file.

    Attributes:
        subject: the split or file.
        text: what was found.
        whole: whether that is as published.
    """

    subject: str
    text: str
    whole: bool


def split_verdict(
    known: PublishedSet, path: Path, split: str, report: Callable[[int, int], None]
) -> Verdict:
    """Open one split, compare its counts, and read every image.

    A split other than the evaluation's may be absent; ``report`` is called with (images
    read, images to read).
    """
    try:
        images = kinds()[known.kind].open(path, split, None)
    except RequestError as reason:
        needed = split == known.test or known.own_split
        return Verdict(split, str(reason) if needed else f"not here: {reason}", not needed)
    unreadable = _unreadable(images, report)
    published = known.counts[split]
    problems = []
    if len(images) != published:
        problems.append(f"{published} are published")
    without = len(images.class_names) - len(set(images.labels))
    if without:
        problems.append(f"{without} classes have none")
    if unreadable:
        problems.append(unreadable)
    found = f"{len(images)} images of {len(images.class_names)} classes"
    return Verdict(split, "; ".join([found, *(problems or ["all readable"])]), not problems)


def splits_to_check(known: PublishedSet) -> tuple[str, ...]:
    """The splits that hold every image once."""
    if known.own_split:
        return ("all",)
    return tuple(
        split for split in known.counts if split != "trainval" or "val" not in known.counts
    )


def _unreadable(images: ImageSet, report: Callable[[int, int], None]) -> str:
    try:
        verify(images, "stop", report)
    except RequestError as reason:
        return str(reason)
    return ""


def file_verdicts(known: PublishedSet, path: Path) -> list[Verdict]:
    """Compare the checksum of each archive that is still next to the set."""
    verdicts = []
    for name, published in known.checksums.items():
        file = path / name
        if file.is_file():
            same = _md5(file) == published
            verdicts.append(Verdict(name, f"checksum {'as' if same else 'not as'} published", same))
    return verdicts


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
