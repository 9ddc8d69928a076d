"""Open a data set and read every image of it once, before long work starts on it."""

from __future__ import annotations

from typing import Literal

from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.table import shortfall
from zsrobust.data.registry import Role, opening
from zsrobust.data.split import take
from zsrobust.data.verify import verify
from zsrobust.utils.progress import Steps


def open_readable(
    spec: str,
    role: Role,
    on_unreadable: Literal["stop", "skip"],
    *,
    samples: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """The set that ``spec`` names, as ``readable`` gives it.

    Raises:
        RequestError: if the specification is wrong, the data is not there, or an image cannot be
            read and ``on_unreadable`` is ``stop``.
    """
    images = opening(spec, role)()
    say_notes(images)
    return readable(images, on_unreadable, samples=samples, seed=seed)


def say_notes(images: ImageSet) -> None:
    """Say how a set was read when it was opened, and that images of a published set are missing."""
    say = Steps("", 1).say
    for note in (*images.notes, *filter(None, [shortfall(images)])):
        say(note)


def readable(
    images: ImageSet,
    on_unreadable: Literal["stop", "skip"],
    *,
    samples: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """The set without its unreadable images where ``skip`` was asked for, each read once.

    ``samples`` of it are drawn by ``seed``, balanced over classes, before any is read. What is
    noted while reading is said.

    Raises:
        RequestError: if an image cannot be read and ``on_unreadable`` is ``stop``.
    """
    if samples is not None:
        images = take(images, samples, seed)
    with Steps(f"reading {images.name}", len(images)) as progress:
        left, skipped = verify(
            images, on_unreadable, lambda done, _: progress.advance(done - progress.done)
        )
        for note in left.notes[len(images.notes) :]:
            progress.say(note)
        if skipped:
            progress.say(
                f"skipped {len(skipped)} unreadable images of {images.name}, first {skipped[0]}"
            )
    return left
