"""Batches of one shape: decode, bring to the attack resolution, stack, scale to [0, 1].

This is the loader's resize, outside the threat model; the classifier's own comes after the attack.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from zsrobust.data.batch import Batch
from zsrobust.data.image_set import ImageSet
from zsrobust.data.pixel_cache import PixelCache, Pixels, pixel_cache
from zsrobust.utils.errors import RequestError, RunError

# Blocks fetched at a time, and how many are asked for before they are needed.
AHEAD = 2


def _shorter_side(image: Image.Image, side: int, kernel: Image.Resampling) -> Image.Image:
    """``image`` with its shorter side at ``side``; the longer rounds down, as torchvision's."""
    shorter = min(image.size)
    if shorter == side:
        return image
    width, height = (side if n == shorter else int(side * n / shorter) for n in image.size)
    return image.resize((width, height), kernel)


def _centre_crop(image: Image.Image, side: int) -> Image.Image:
    left, top = (round((n - side) / 2) for n in image.size)
    return image.crop((left, top, left + side, top + side))


def _clip(image: Image.Image, resolution: int) -> Image.Image:
    """CLIP's: shorter side to ``resolution``, bicubic, centre crop."""
    return _centre_crop(_shorter_side(image, resolution, Image.Resampling.BICUBIC), resolution)


def _bilinear(image: Image.Image, resolution: int) -> Image.Image:
    """The same with bilinear interpolation."""
    return _centre_crop(_shorter_side(image, resolution, Image.Resampling.BILINEAR), resolution)


def _squash(image: Image.Image, resolution: int) -> Image.Image:
    """Both sides to ``resolution``, bicubic."""
    return image.resize((resolution, resolution), Image.Resampling.BICUBIC)


def _bilinear_squash(image: Image.Image, resolution: int) -> Image.Image:
    """The same with bilinear interpolation."""
    return image.resize((resolution, resolution), Image.Resampling.BILINEAR)


def _authors_code(image: Image.Image, resolution: int) -> Image.Image:
    """PMG-AFT's code: shorter side to 256/224 of ``resolution``, bilinear, centre crop."""
    side = round(resolution * 256 / 224)
    return _centre_crop(_shorter_side(image, side, Image.Resampling.BILINEAR), resolution)


LOADER_RESIZES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "clip": _clip,
    "squash": _squash,
    "bilinear": _bilinear,
    "bilinear_squash": _bilinear_squash,
    "authors_code": _authors_code,
}


def attack_resolution(image_set: ImageSet, image_size: int) -> int:
    """Side in pixels at which the set is attacked by a model of input size ``image_size``.

    Raises:
        RequestError: if the model takes any size (0), and the set asks for none.
    """
    side = image_set.resolution or image_set.native_size or image_size
    if not side:
        raise RequestError(
            f"{image_set.name} is given to a model that takes images of any size: say which, by "
            "the data's resolution, such as 224"
        )
    return side


def load_batches(
    image_set: ImageSet,
    index_batches: Iterable[list[int]],
    *,
    resize: str,
    resolution: int,
    workers: int = 0,
) -> Iterator[Batch]:
    """One batch for each list of indices, in order: images (n, 3, resolution, resolution).

    ``resize`` is a name in ``LOADER_RESIZES``; at a set's native size the stored pixels are used
    as they are. ``workers`` processes decode ahead; 0 decodes here. The results are the same.

    Raises:
        RequestError: if ``resize`` is unknown.
        RunError: naming the file, if an image cannot be read.
    """
    if resize not in LOADER_RESIZES:
        raise RequestError(
            f"loader resize {resize!r} is unknown: choose one of {', '.join(LOADER_RESIZES)}"
        )
    loader = DataLoader(
        _Decoded(image_set, resize, resolution, pixel_cache(image_set, resize, resolution)),
        batch_sampler=fetched_ahead(image_set, index_batches),
        collate_fn=_as_is,
        num_workers=workers,
        # A generator of its own: the loader would otherwise draw from the global one.
        generator=torch.Generator(),
    )
    return _scaled(loader)


def _scaled(loader: Iterable[Batch | RunError]) -> Iterator[Batch]:
    # Bytes cross between processes; floats, four times their size, are made on this side.
    for loaded in loader:
        if isinstance(loaded, RunError):
            raise loaded
        yield replace(loaded, images=loaded.images.float().div_(255))


@dataclass(frozen=True)
class _Decoded(Dataset[Batch | RunError]):
    """Whole batches of bytes, read by list of indices."""

    image_set: ImageSet
    resize: str
    resolution: int
    cache: PixelCache | None

    def __getitems__(self, indices: list[int]) -> Batch | RunError:
        """The batch; an error is returned, for a raised one would cross processes as a trace."""
        try:
            # NumPy stacks in one thread: torch's threads stall where the processors are shared.
            images = torch.from_numpy(np.stack([self._pixels(index) for index in indices]))
        except RunError as reason:
            return reason
        labels = torch.tensor([self.image_set.labels[index] for index in indices])
        return Batch(images, labels, [self.image_set.sample_ids[index] for index in indices])

    def _pixels(self, index: int) -> Pixels:
        """The sample's bytes (3, H, W), decoded only where they are not cached."""
        if self.cache is None:
            return self._decode(index)
        slot = self.image_set.slots[index]
        pixels = self.cache.read(slot)
        if pixels is None:
            pixels = self._decode(index)
            self.cache.write(slot, pixels)
        return pixels

    def _decode(self, index: int) -> Pixels:
        image = self.image_set.read_rgb(index)
        if self.resolution != self.image_set.native_size:
            image = LOADER_RESIZES[self.resize](image, self.resolution)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _as_is(loaded: Any) -> Any:
    return loaded


def fetched_ahead(image_set: ImageSet, index_batches: Iterable[list[int]]) -> Iterable[list[int]]:
    """The same batches; going through them fetches the blocks that those after them need."""
    if image_set.fetch_block is None:
        return index_batches
    return _Ahead(image_set, list(index_batches))


class _Ahead:
    """Batches that may be gone through once or more, as a sampler is."""

    def __init__(self, image_set: ImageSet, batches: list[list[int]]) -> None:
        self.image_set, self.batches = image_set, batches

    def __iter__(self) -> Iterator[list[int]]:
        blocks = self.image_set.blocks
        new = [list(dict.fromkeys(blocks[index] for index in batch)) for batch in self.batches]
        coming = list(dict.fromkeys(block for batch in new for block in batch))
        needed: set[int] = set()
        asked = 0
        # The threads start here, when the loader has made its processes: none is forked with them.
        pool, to_the_end = ThreadPoolExecutor(AHEAD), False
        try:
            for batch, its_blocks in zip(self.batches, new, strict=True):
                needed.update(its_blocks)
                while asked < min(len(needed) + AHEAD, len(coming)):
                    pool.submit(self._fetch, coming[asked])
                    asked += 1
                yield batch
            to_the_end = True
        finally:
            # A loader asks for its last batches early: what they need is still fetched.
            pool.shutdown(wait=False, cancel_futures=not to_the_end)

    def _fetch(self, block: int) -> None:
        assert self.image_set.fetch_block is not None
        # The next reader of the block meets the same failure, and can say which image it was.
        with contextlib.suppress(RunError):
            self.image_set.fetch_block(block)
