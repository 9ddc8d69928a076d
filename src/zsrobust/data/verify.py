"""Every image is decoded once before long work starts, and the verdict is cached.

A truncated file is an error, never a half-grey image: Pillow's LOAD_TRUNCATED_IMAGES stays off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import PIL
from PIL import Image

from zsrobust.data.decode import DECODING
from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.sets import SYNTHETIC, shortfall
from zsrobust.data.readers import SEVERAL
from zsrobust.data.registry import Role, opening
from zsrobust.data.split import take
from zsrobust.utils.cache import cache_folder
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import write_text
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
    """Say how a set was read when it was opened, and that images of a published set are missing.

    That images are synthetic is a failed check of the results.
    """
    say = Steps("", 1).say
    for note in (*images.notes, *filter(None, [shortfall(images)])):
        if SYNTHETIC not in note:
            say(note)


def readable(
    images: ImageSet,
    on_unreadable: Literal["stop", "skip"],
    *,
    samples: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """The set without its unreadable images where ``skip`` was asked for, each read once.

    ``samples`` of it are drawn by ``seed``, balanced over classes, before any is read. Notes made
    while reading are printed.

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


def verify(
    image_set: ImageSet,
    on_unreadable: Literal["stop", "skip"],
    report: Callable[[int, int], None] | None = None,
) -> tuple[ImageSet, list[str]]:
    """The set without its unreadable images, and the ids of those.

    A set that its writer checked is not read: where it streams, that would be all of it.
    Files found readable are not decoded again until one of the set changes in path, size or time;
    files found unreadable are tried again each time. A note counts the files that hold several
    images. ``report`` is called with (images decoded, images to decode).

    Raises:
        RequestError: if images are unreadable and ``on_unreadable`` is ``stop``, or none is left.
    """
    image_set = stamped(image_set)
    if image_set.checked:
        return image_set, []
    cached = cache_folder() / "verified" / f"{image_set.stamp}.json" if image_set.stamp else None
    known = _read_verdict(cached, image_set) if cached else None
    suspects, several = known or (range(len(image_set)), 0)
    problems, found = _unreadable(image_set, suspects, report)
    several += found
    if cached and len(problems) < len(suspects):
        _write_verdict(cached, [image_set.sample_ids[index] for index in problems], several)
    if several:
        note = (
            f"{image_set.name}: {several} files hold several images, as animations and scans do, "
            "and the first of each is read"
        )
        image_set = replace(image_set, notes=(*image_set.notes, note))
    if not problems:
        return image_set, []
    if on_unreadable == "stop" or len(problems) == len(image_set):
        first = "; ".join(list(problems.values())[:3])
        raise RequestError(
            f"{len(problems)} of {len(image_set)} images of {image_set.name}/{image_set.split} "
            f"are unreadable ({first}{'; ...' if len(problems) > 3 else ''}): "
            "replace them, or leave them out with --on_unreadable skip"
        )
    readable = [index for index in range(len(image_set)) if index not in problems]
    left = replace(image_set.subset(readable), skipped=len(problems))
    return left, [image_set.sample_ids[index] for index in problems]


def _unreadable(
    image_set: ImageSet, indices: Sequence[int], report: Callable[[int, int], None] | None
) -> tuple[dict[int, str], int]:
    """What is wrong with each image that cannot be read, by index; and how many hold several."""
    several: list[int] = []

    def read_image(index: int) -> Image.Image:
        image = image_set.read_image(index)
        if image.info.get(SEVERAL):
            several.append(index)
        return image

    noting = replace(image_set, read_image=read_image)

    def problem(index: int) -> str | None:
        try:
            noting.read_rgb(index)
        except RunError as reason:
            return str(reason)
        return None

    problems: dict[int, str] = {}
    # Pillow decodes without holding Python's lock, so threads do.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (index, found) in enumerate(
            zip(indices, pool.map(problem, indices), strict=True), start=1
        ):
            if found:
                problems[index] = found
            if report:
                report(done, len(indices))
    return problems, len(set(several) - set(problems))


def stamped(image_set: ImageSet) -> ImageSet:
    """The set with a ``stamp`` of the decoder and every file's path, size and time.

    Where samples are no files, the stamp that the set was opened with takes their place.
    """
    if image_set.root is None and not image_set.stamp:
        return image_set
    source = image_set.root or image_set.stamp
    digest = hashlib.blake2b(f"{DECODING}\0{PIL.__version__}\0{source}".encode(), digest_size=20)
    for index, sample_id in enumerate(image_set.sample_ids):
        digest.update(f"\0{sample_id}\0{_file_stamp(image_set, index)}".encode())
    n = len(image_set)
    return replace(image_set, stamp=digest.hexdigest(), slots=range(n), stamped_size=n)


def with_content_stamp(image_set: ImageSet) -> ImageSet:
    """The set with a ``stamp`` of its decoded pixels, where it has none of its files.

    Raises:
        RunError: if an image cannot be read.
    """
    if image_set.stamp:
        return image_set
    digest = hashlib.blake2b(digest_size=20)
    with Steps(f"reading {image_set.name}", len(image_set)) as progress:
        for index in range(len(image_set)):
            image = image_set.read_rgb(index)
            digest.update(f"{image.size}".encode() + image.tobytes())
            progress.advance()
    return replace(image_set, stamp=digest.hexdigest())


def _file_stamp(image_set: ImageSet, index: int) -> str:
    if image_set.root is None:
        return ""
    try:
        status = Path(image_set.where(index)).stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_verdict(path: Path, image_set: ImageSet) -> tuple[Sequence[int], int] | None:
    """Indices of the images found unreadable before, and how many of the others hold several.

    None if nothing usable is cached.
    """
    try:
        verdict = json.loads(path.read_text("utf-8"))
        unreadable, several = set(map(str, verdict["unreadable"])), int(verdict["several"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    ids = enumerate(image_set.sample_ids)
    return [index for index, sample_id in ids if sample_id in unreadable], several


def _write_verdict(path: Path, unreadable: list[str], several: int) -> None:
    # A cache that cannot be written costs time, never a run.
    with contextlib.suppress(OSError):
        write_text(path, json.dumps({"unreadable": unreadable, "several": several}))
