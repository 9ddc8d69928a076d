"""Write any image set as WebDataset shards with an index, from which training can stream."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import EncodedReader, SubsetReader, decoded, opened
from zsrobust.data.shards.index import INDEX, SAMPLES, Index, Rows, Shard, plain
from zsrobust.data.split import keyed_order
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import atomic_folder, sha256_of

# Pillow's formats whose files are stored as they are; any other image becomes a PNG.
_SUFFIX_OF = {
    "JPEG": "jpg",
    # As phones write JPEG files that hold a preview too.
    "MPO": "jpg",
    "PNG": "png",
    "WEBP": "webp",
    "BMP": "bmp",
    "GIF": "gif",
    "PPM": "ppm",
}
MEASURED = 20
"""Images of which the size of all is estimated."""


def write_shards(
    images: ImageSet, out: Path, samples_a_shard: int, report: Callable[[int], None]
) -> Index:
    """Write ``images`` into the new folder ``out``, whole or not at all; returns the index.

    Sample k of the set's keyed order is ``<k>.jpg`` (or its format's suffix) and ``<k>.cls``; so
    each shard is a random part of the set, and shards read in turn are well mixed. Bytes of image
    files are stored as they are; pixels in memory become PNG. Reading gives the same ids, labels
    and pixels. A split that is not fit for a file's name is made so, in the index too. ``report``
    is called with the number of samples written.

    Raises:
        RequestError: if ``out`` is not empty, or ``samples_a_shard`` is below 1.
        RunError: if an image can no longer be read, or the disk is full.
    """
    refuse(out, samples_a_shard)
    order = keyed_order(images.sample_ids, 0, "shards")
    split = plain(images.split)
    starts = range(0, len(order), samples_a_shard)
    shards, rows = [], Rows()
    try:
        with atomic_folder(out) as folder:
            for number, start in enumerate(starts):
                path = folder / f"{split}-{number:06d}.tar"
                members = order[start : start + samples_a_shard]
                _write_shard(path, images, members, start, number, rows)
                size, sha256 = path.stat().st_size, sha256_of(path)
                shards.append(Shard(path.name, len(members), size, sha256))
                report(start + len(members))
            samples = rows.to_parquet()
            index = Index(
                name=images.name,
                split=split,
                class_names=images.class_names,
                templates=images.templates,
                native_size=images.native_size,
                origin=images.origin,
                shards=tuple(shards),
                samples_sha256=hashlib.sha256(samples).hexdigest(),
            )
            (folder / SAMPLES).write_bytes(samples)
            (folder / INDEX).write_text(index.to_json(), "utf-8")
    except OSError as reason:
        raise RunError(f"cannot write {out}: {reason.strerror or reason}") from None
    return index


def refuse(out: Path, samples_a_shard: int) -> None:
    """Say what is wrong with the request, before the images are read.

    Raises:
        RequestError: if ``out`` is not empty, or ``samples_a_shard`` is below 1.
    """
    if samples_a_shard < 1:
        raise RequestError(f"a shard cannot hold {samples_a_shard} samples: give 1 or more")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise RequestError(f"{out} is there already: give a new folder with --out")


def expected_bytes(images: ImageSet) -> float:
    """About how many bytes its shards take, from the first images of the order they are written in.

    Raises:
        RunError: if one of these cannot be read.
    """
    some = keyed_order(images.sample_ids, 0, "shards")[:MEASURED]
    return len(images) * sum(len(_stored(images, index)[0]) for index in some) / max(1, len(some))


def _write_shard(
    path: Path, images: ImageSet, members: list[int], start: int, number: int, rows: Rows
) -> None:
    """Write one shard, and add its samples to ``rows``."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for position, index in enumerate(members, start):
            content, suffix = _stored(images, index)
            # A short name and a small file have a header of one block.
            offset = archive.offset + tarfile.BLOCKSIZE
            label = str(images.labels[index])
            for name, data in ((suffix, content), ("cls", label.encode())):
                member = tarfile.TarInfo(f"{position:09d}.{name}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            rows.ids.append(images.sample_ids[index])
            rows.labels.append(label)
            rows.shard.append(number)
            rows.offset.append(offset)
            rows.size.append(len(content))


def _stored(images: ImageSet, index: int) -> tuple[bytes, str]:
    """The image's file and its suffix."""
    reader: Callable[[int], Image.Image] = images.read_image
    at = index
    while isinstance(reader, SubsetReader):
        at, reader = reader.indices[at], reader.read_image
    if isinstance(reader, EncodedReader):
        try:
            content = reader.encoded(at)
            image = decoded(content)
        except Exception as reason:
            raise RunError(f"cannot read image {images.where(index)}: {reason}") from reason
        suffix = _SUFFIX_OF.get(_format(content))
        if suffix and image:
            return content, suffix
    held = io.BytesIO()
    images.read_rgb(index).save(held, "PNG")
    return held.getvalue(), "png"


def _format(content: bytes) -> str:
    with opened(content) as image:
        return image.format or ""
