"""What every data set is to the rest of the package: named, split, labelled images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from zsrobust.data.decode import to_rgb
from zsrobust.data.readers import SubsetReader
from zsrobust.utils.errors import RequestError, RunError

MOST_ASPECT = 100
# What a terminal obeys and no tokenizer knows; and halves of letters, which no file can hold.
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class ImageSet:
    """A labelled set of images, read one at a time.

    Attributes:
        name: the set's name in results, such as ``tiny-imagenet``.
        split: ``train``, ``val``, ``test`` or ``all``.
        class_names: C names in label order, as prompts use them.
        sample_ids: one stable id a sample, unique in (name, split): the path below the root, or
            the index where there is no file.
        labels: one label in [0, C) a sample.
        read_image: index to the image as stored; any Pillow mode.
        native_size: side in pixels where attacks on this set are defined on the stored pixels
            (32 for CIFAR); None where the loader brings photographs to one size first.
        templates: prompts of this set's own, empty for the model's default.
        resolution: attack resolution asked for in the data specification, None for the default.
        root: the folder that sample ids are paths below; None where samples are no files.
        origin: what the images are whatever the set is called: the published set's name, or the
            place of a folder.
        skipped: how many unreadable images were left out.
        notes: sentences on how the data was read that users who train or evaluate on it must know,
            such as files that were left out.
        stamp: hash of every file's path, size and time, or of what else shows that images are
            the same as before; empty where nothing does.
        slots, stamped_size: the place of each sample in the set that was stamped, and that set's
            size; splits of one stamped set share its cached pixels.
        checked: whether every image was found readable, and hashed, when the set was written.
        blocks: number of the block of each sample, where samples come a block at a time, such as
            a shard that is fetched whole; empty where each can be read alone.
        fetch_block: brings the block of that number here; None where there are no blocks.

    Raises:
        RequestError: if the name, the split or a class name holds a control character.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    sample_ids: Sequence[str]
    labels: Sequence[int]
    read_image: Callable[[int], Image.Image]
    native_size: int | None = None
    templates: tuple[str, ...] = ()
    resolution: int | None = None
    root: Path | None = None
    origin: str = ""
    skipped: int = 0
    notes: tuple[str, ...] = ()
    stamp: str = ""
    slots: Sequence[int] = ()
    stamped_size: int = 0
    checked: bool = False
    blocks: Sequence[int] = ()
    fetch_block: Callable[[int], object] | None = None

    def __post_init__(self) -> None:
        for word in (self.name, self.split, *self.class_names):
            if _UNPRINTABLE.search(word):
                raise RequestError(
                    f"data set {self.name!r}: {word!r} holds a control character: rename it"
                )

    def __len__(self) -> int:
        return len(self.sample_ids)

    def where(self, index: int) -> str:
        """How a message names the sample: its full path, or its id in this set."""
        sample_id = self.sample_ids[index]
        return str(self.root / sample_id) if self.root else f"{self.name}/{self.split} {sample_id}"

    def read_rgb(self, index: int) -> Image.Image:
        """The sample's image in mode RGB, at its stored size.

        One that is ``MOST_ASPECT`` times as long as wide, or more, counts as unreadable: with its
        shorter side at the resolution of a model, it would not fit into memory.

        Raises:
            RunError: naming the sample, if it cannot be read.
        """
        try:
            image = self.read_image(index)
            if max(image.size) > MOST_ASPECT * min(image.size):
                size = " x ".join(map(str, image.size))
                raise ValueError(f"{size} pixels: a side may be {MOST_ASPECT} times the other")
            return to_rgb(image)
        # Pillow's decoders raise nearly anything on broken data: OSError, SyntaxError, ValueError,
        # struct.error, IndexError, and its own guard against decompression bombs.
        except Exception as reason:
            raise RunError(f"cannot read image {self.where(index)}: {_why(reason)}") from reason

    def subset(self, indices: Sequence[int]) -> ImageSet:
        """The samples at ``indices``, in that order."""
        indices = tuple(indices)
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[index] for index in indices),
            labels=tuple(self.labels[index] for index in indices),
            read_image=SubsetReader(self.read_image, indices),
            slots=tuple(self.slots[index] for index in indices if self.slots),
            blocks=tuple(self.blocks[index] for index in indices if self.blocks),
        )


def _why(reason: Exception) -> str:
    if isinstance(reason, UnidentifiedImageError):
        return "not an image that Pillow knows"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return str(reason) or type(reason).__name__
