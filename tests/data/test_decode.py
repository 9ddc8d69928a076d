import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsrobust.data.decode import to_rgb


def pixel(image: Image.Image) -> tuple[int, ...]:
    return tuple(int(level) for level in np.asarray(to_rgb(image))[0, 0])


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
        ("1", 0, (0, 0, 0)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (255, 0, 255, 0), (0, 255, 0)),
        ("YCbCr", (128, 128, 128), (128, 128, 128)),
        ("HSV", (0, 0, 90), (90, 90, 90)),
        ("I;16", 0, (0, 0, 0)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 50, (50, 50, 50)),
        ("I;16B", 257 * 50, (50, 50, 50)),
        ("I", 257 * 200, (200, 200, 200)),
        ("I", -5, (0, 0, 0)),
        ("I", 1 << 20, (255, 255, 255)),
        ("F", 0.4, (102, 102, 102)),
        ("F", 102.4, (102, 102, 102)),
        ("F", 1e9, (255, 255, 255)),
    ],
)
def test_every_mode_becomes_the_colour_a_person_sees(mode, colour, expected) -> None:
    image = Image.new(mode, (3, 2), colour)
    converted = to_rgb(image)
    assert (converted.mode, converted.size) == ("RGB", (3, 2))
    assert pixel(image) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_grey_is_refused(value: float) -> None:
    image = Image.new("F", (3, 2), 0.4)
    image.putpixel((2, 1), value)
    with pytest.raises(ValueError, match="nan or infinite"):
        to_rgb(image)


def test_a_palette_image_keeps_its_colours() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 10, 60])
    assert pixel(image) == (200, 10, 60)


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_transparent_colour_in_a_png_becomes_white(mode: str) -> None:
    image = Image.new(mode, (2, 2), 0)
    image.putpixel((1, 0), {"P": 1, "L": 9, "RGB": (9, 9, 9)}[mode])
    if mode == "P":
        image.putpalette([0, 0, 0, 9, 9, 9])
    stored = io.BytesIO()
    image.save(stored, "PNG", transparency=(0, 0, 0) if mode == "RGB" else 0)
    rgb = to_rgb(Image.open(stored))
    assert rgb.getpixel((0, 0)) == (255, 255, 255)
    assert rgb.getpixel((1, 0)) == (9, 9, 9)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bit_grey_files_keep_their_tones(tmp_path: Path, suffix: str) -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    path = tmp_path / f"ramp.{suffix}"
    Image.fromarray(levels).save(path)
    with Image.open(path) as image:
        rgb = np.asarray(to_rgb(image))
    assert (rgb[..., 0].ravel() == np.arange(256)).all()


def test_exif_orientation_is_not_applied() -> None:
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    image.save(stored, "JPEG", exif=exif)
    assert to_rgb(Image.open(stored)).size == (6, 4)
