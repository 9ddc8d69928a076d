"""An uploaded file as the image that models see, or a sentence that says why not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError
from torch import Tensor

from zsrobust.data.decode import orientation, to_rgb
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import attack_resolution, load_batches
from zsrobust.data.readers import FORMATS, holds_several, opened
from zsrobust.serve.limits import Limits
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class Picture:
    """One image.

    Attributes:
        image: in mode RGB, at its stored size.
        name: of its file.
        notes: what was done to it, or was not, in sentences.
    """

    image: Image.Image
    name: str
    notes: tuple[str, ...] = ()

    @property
    def sample_id(self) -> str:
        """Hash of size and pixels; it keys the attack's noise, so that an image has one answer."""
        content = f"{self.image.size}".encode() + self.image.tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def is_native(self, image_size: int) -> bool:
        """Whether a model of this input size is attacked on the stored pixels.

        As the small square sets are in an evaluation; any other image is a photograph.
        """
        width, height = self.image.size
        return width == height <= image_size

    def pixels(self, image_size: int, loader_resize: str) -> Tensor:
        """Pixels (1, 3, S, S) in [0, 1] for a model of this input size, as an evaluation's."""
        alone = ImageSet(
            name="picture",
            split="all",
            class_names=("picture",),
            sample_ids=(self.sample_id,),
            labels=(0,),
            read_image=lambda _: self.image,
            native_size=self.image.width if self.is_native(image_size) else None,
        )
        resolution = attack_resolution(alone, image_size)
        (batch,) = load_batches(alone, [[0]], resize=loader_resize, resolution=resolution)
        return batch.images


def read_picture(path: str | Path, limits: Limits, name: str = "") -> Picture:
    """The picture in a file.

    Args:
        path: the file.
        limits: what is refused.
        name: its own name, where ``path`` is another's.

    Raises:
        RequestError: if it is missing, too large, too long and thin, damaged or no image.
    """
    path = Path(path)
    name = name or path.name
    try:
        if path.stat().st_size > limits.upload_bytes:
            raise RequestError(
                f"{name!r} is too large: give at most {limits.upload_bytes / 1e6:g} MB"
            )
        content = path.read_bytes()
    except OSError:
        raise RequestError(f"{name!r} is no longer on the server: choose it again") from None
    try:
        with opened(content) as image:
            _require_sizes(image, name, limits)
            notes = tuple(_notes(image))
            image.load()
            return Picture(to_rgb(image), name, notes)
    except RequestError:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels(name, limits) from None
    except UnidentifiedImageError:
        raise RequestError(f"{name!r} is not an image: give one of {', '.join(FORMATS)}") from None
    # Pillow's decoders raise nearly anything on broken data.
    except Exception as reason:
        raise RequestError(f"{name!r} is damaged ({reason})") from None


def _require_sizes(image: Any, name: str, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.pixels:
        raise _too_many_pixels(name, limits)
    if max(width, height) > limits.aspect * min(width, height):
        raise RequestError(
            f"{name!r} is {width} x {height} pixels: give one whose longer side is at most "
            f"{limits.aspect} times the shorter one"
        )


def _too_many_pixels(name: str, limits: Limits) -> RequestError:
    return RequestError(
        f"{name!r} has too many pixels: give at most {limits.pixels / 1e6:g} million"
    )


def _notes(image: Any) -> list[str]:
    found = []
    if holds_several(image):
        found.append("The file has several frames: the first one is used.")
    if orientation(image) != 1:
        found.append("The image is rotated as its EXIF orientation says.")
    return found
