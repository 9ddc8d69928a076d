"""A set of WebDataset shards: with our index, or foreign ones with a class-name file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from zsrobust.data.class_labels import class_labels, numbered
from zsrobust.data.image_set import ImageSet
from zsrobust.data.names.codes import code_notes
from zsrobust.data.sampler import WINDOW
from zsrobust.data.shards.index import INDEX, SAMPLES, Index, Rows, Shard
from zsrobust.data.shards.places import (
    below,
    folder_of,
    is_remote,
    last_part,
    read_place,
    spelled_out,
)
from zsrobust.data.shards.reader import ShardReader
from zsrobust.data.shards.scan import Fields, scan
from zsrobust.data.specification import Specification
from zsrobust.utils.cache import cache_limit
from zsrobust.utils.errors import RequestError
from zsrobust.utils.progress import Steps

LAYOUT = (
    "tar files, written as a folder with index.json, or as a pattern such as "
    "shards/train-{000..009}.tar or https://host/train-*.tar"
)


def webdataset(asked: Specification, role: str) -> ImageSet:
    """The samples of the shards at ``asked.place``, in the order of the shards.

    With an ``index.json`` of ours next to them, nothing else is read before it is needed. Without
    one, ``names=`` must name the classes, and the headers of every shard are read once; a label
    is the sample's ``.cls``, or the field ``label`` of its ``.json``. ``image=`` names another
    extension for images and ``label=`` another field.

    Raises:
        RequestError: if there are no such shards, one is cut short or holds what it should not, or
            a label is out of range.
        RunError: if a shard cannot be fetched.
    """
    place = asked.place if is_remote(asked.place) else str(Path(asked.place).expanduser())
    last = last_part(place)
    is_url_of_folder = is_remote(place) and not last.endswith(".tar") and "{" not in last
    is_folder = is_url_of_folder or Path(place).is_dir()
    folder = place if is_folder else folder_of(place)
    found = None if set("{*?[") & set(folder) else read_place(below(folder, INDEX))
    if found is not None:
        index = Index.from_json(found, below(folder, INDEX))
        return _indexed(asked, folder, index, None if is_folder else spelled_out(place))
    if is_folder and is_remote(place):
        raise RequestError(f"there is no {below(folder, INDEX)}: give {LAYOUT}")
    places = spelled_out(below(place, "*.tar") if is_folder else place)
    if not places:
        raise RequestError(f"data {asked.text!r} finds no shards: give {LAYOUT}")
    return _foreign(asked, places)


def _indexed(asked: Specification, folder: str, index: Index, chosen: list[str] | None) -> ImageSet:
    for key in ("names", "image", "label"):
        if getattr(asked, key) is not None:
            raise RequestError(
                f"data {asked.text!r} gives {key}, which {INDEX} of {folder} defines"
            )
    if asked.split not in (None, index.split):
        raise RequestError(
            f"data {asked.text!r} has no split {asked.split!r}: it has {index.split}"
        )
    samples = below(folder, SAMPLES)
    content = read_place(samples)
    if content is None:
        raise RequestError(f"there is no {samples}, which belongs to {INDEX}: copy both")
    rows = Rows.from_parquet(content, index, samples)
    places = [below(folder, shard.name) for shard in index.shards]
    classes = numbered(index.class_names, samples)
    notes = code_notes(index.class_names, below(folder, INDEX), chosen=True)
    images = ImageSet(
        name=index.name,
        split=index.split,
        class_names=index.class_names,
        sample_ids=tuple(rows.ids),
        labels=tuple(classes.label(word, samples) for word in rows.labels),
        read_image=ShardReader.of(places, index.shards, rows),
        native_size=index.native_size,
        templates=index.templates,
        origin=index.origin,
        notes=notes,
        stamp=_stamp(index),
        checked=True,
    )
    images = _streamed(images, places, index.shards, rows)
    wanted = set(range(len(places))) if chosen is None else _numbers(asked, index, chosen)
    _refuse_changed([(places[n], index.shards[n]) for n in sorted(wanted)])
    if len(wanted) == len(places):
        return images
    return images.subset([i for i, number in enumerate(rows.shard) if number in wanted])


def _stamp(index: Index) -> str:
    """What changes with the samples and with the bytes of any shard, so with the pixels too."""
    hashes = [index.samples_sha256, *(shard.sha256 for shard in index.shards)]
    return hashlib.blake2b("".join(hashes).encode(), digest_size=20).hexdigest()


def _numbers(asked: Specification, index: Index, chosen: list[str]) -> set[int]:
    """The numbers of the shards at the places ``chosen``."""
    number_of = {shard.name: number for number, shard in enumerate(index.shards)}
    foreign = [place for place in chosen if last_part(place) not in number_of]
    if foreign or not chosen:
        first, *_, last = (*number_of, *number_of)
        raise RequestError(
            f"data {asked.text!r} asks for {foreign[0] if foreign else 'nothing'}, but the "
            f"{INDEX} next to it lists {first} to {last}"
        )
    return {number_of[last_part(place)] for place in chosen}


def _foreign(asked: Specification, places: list[str]) -> ImageSet:
    if asked.split not in (None, "all"):
        raise RequestError(f"data {asked.text!r} has no split {asked.split!r}: it has all")
    if not asked.names:
        raise RequestError(
            f"data {asked.text!r} has no {INDEX}, so the classes must be named: give names=FILE"
        )
    with Steps("reading the headers of shards", len(places)) as steps:
        if any(map(is_remote, places)):
            steps.say(
                f"{asked.place} has no {INDEX}, so all of it is fetched and read once before work "
                "starts; zsrobust data shard writes shards that have one"
            )
        shards, rows, stamp = scan(
            places,
            Fields(asked.image, asked.label),
            lambda done: steps.advance(done - steps.done),
        )
    classes = class_labels(rows.labels, asked.names, asked.place)
    labels = tuple(
        classes.label(word, f"{places[number]} sample {sample_id!r}")
        for word, number, sample_id in zip(rows.labels, rows.shard, rows.ids, strict=True)
    )
    folder = folder_of(places[0])
    images = ImageSet(
        name=last_part(folder) or "webdataset",
        split="all",
        class_names=classes.names,
        sample_ids=tuple(rows.ids),
        labels=labels,
        read_image=ShardReader.of(places, shards, rows),
        origin=folder if is_remote(folder) else str(Path(folder).resolve()),
        notes=classes.notes,
        stamp=stamp,
    )
    return _streamed(images, places, shards, rows)


def _streamed(
    images: ImageSet, places: list[str], shards: list[Shard] | tuple[Shard, ...], rows: Rows
) -> ImageSet:
    """``images``, whose shards are fetched whole where they are behind a URL."""
    if not any(map(is_remote, places)):
        return images
    together = (WINDOW + 2) * max(shard.bytes for shard in shards)
    if together > cache_limit():
        raise RequestError(
            f"{WINDOW + 2} shards of {images.name} are held at a time, {together / 1e9:.1f} GB: "
            f"allow more than {cache_limit() / 1e9:g} GB with ZSROBUST_CACHE_GB"
        )
    assert isinstance(images.read_image, ShardReader)
    return replace(images, blocks=tuple(rows.shard), fetch_block=images.read_image.local)


def _refuse_changed(shards: list[tuple[str, Shard]]) -> None:
    """A shard on this disk that is missing or of another size than in the index is refused now."""
    for place, shard in shards:
        if is_remote(place):
            continue
        try:
            size = Path(place).stat().st_size
        except OSError as reason:
            raise RequestError(f"cannot read the shard {place}: {reason.strerror}") from None
        if size != shard.bytes:
            raise RequestError(
                f"{place} has {size:,} bytes and {INDEX} says {shard.bytes:,}: copy it again"
            )
