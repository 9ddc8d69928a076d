import io
import struct
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
        ("I", 200, (200, 200, 200)),
        ("F", 0.4, (102, 102, 102)),
        ("F", 1.00001, (255, 255, 255)),
        ("F", 102.4, (102, 102, 102)),
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


@pytest.mark.parametrize(
    ("mode", "value"),
    [("I", -5), ("I", 300), ("I", 1 << 20), ("F", -0.5), ("F", 3.0), ("F", 1e9)],
)
def test_values_of_no_standard_range_are_refused_and_not_guessed(mode: str, value: float) -> None:
    image = Image.new(mode, (3, 2))
    image.putpixel((1, 1), value)
    with pytest.raises(ValueError, match=r"its values reach from .*: store it with 8 bits"):
        to_rgb(image)


@pytest.mark.parametrize("white", [1.0, 255.0])
@pytest.mark.parametrize("suffix", ["tif", "pfm"])
def test_floating_point_files_keep_their_tones(tmp_path: Path, white: float, suffix: str) -> None:
    levels = np.arange(256).reshape(16, 16)
    Image.fromarray((levels * (white / 255)).astype(np.float32)).save(tmp_path / f"a.{suffix}")
    rgb = np.asarray(to_rgb(Image.open(tmp_path / f"a.{suffix}")))
    assert (rgb == levels[..., None]).all()


@pytest.mark.parametrize("step", [1, 257])
def test_whole_numbers_of_32_bits_keep_their_tones(tmp_path: Path, step: int) -> None:
    levels = np.arange(256).reshape(16, 16)
    Image.fromarray((levels * step).astype(np.int32)).save(tmp_path / "a.tif")
    rgb = np.asarray(to_rgb(Image.open(tmp_path / "a.tif")))
    assert (rgb == levels[..., None]).all()


def tiff(bits: int, photometric: int, row: bytes, width: int) -> Image.Image:
    """An uncompressed grey TIFF of one row, written by hand."""
    tags = [
        *((256, width), (257, 1), (258, bits), (259, 1), (262, photometric)),
        *((273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, 1), (279, len(row))),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    return Image.open(io.BytesIO(head + entries + bytes(4) + row))


def test_twelve_bits_and_white_as_zero() -> None:
    # Two pixels of 12 bits in three bytes, 0x000 and 0xfff; and half of each.
    rgb = np.asarray(to_rgb(tiff(12, 1, bytes.fromhex("000fff7ff800"), 4)))
    assert rgb[0, :, 0].tolist() == [0, 255, 127, 128]
    rgb = np.asarray(to_rgb(tiff(16, 0, np.array([0, 65535, 257], "<u2").tobytes(), 3)))
    assert rgb[0, :, 0].tolist() == [255, 0, 254]


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    # Photoshop stores the inks turned over, and so does Pillow: Adobe's marker says so.
    stored = io.BytesIO()
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(stored, "JPEG", quality=100)
    assert b"Adobe" in stored.getvalue()
    red, green, blue = pixel(Image.open(stored))
    assert red < 5
    assert min(green, blue) > 250


# What the first row and the first column of the stored pixels show, by the EXIF standard.
SIDES = {
    **{1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left")},
    **{5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom")},
}


def upright(stored, orientation: int):
    sides = SIDES[orientation]
    seen = stored if orientation < 5 else stored.swapaxes(0, 1)
    seen = seen[::-1] if "bottom" in sides else seen
    return seen[:, ::-1] if "right" in sides else seen


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied_once(form: str, orientation: int) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8))
    plain, turned, exif = io.BytesIO(), io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(plain, form)
    image.save(turned, form, exif=exif)
    stored = np.asarray(Image.open(plain).convert("RGB"))
    opened = to_rgb(Image.open(turned))
    np.testing.assert_array_equal(np.asarray(opened), upright(stored, orientation))
    np.testing.assert_array_equal(np.asarray(to_rgb(opened)), np.asarray(opened))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.filterwarnings("error")
def test_damaged_exif_data_turns_nothing_and_is_no_error(exif: bytes) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (6, 4)).save(stored, "JPEG", exif=exif)
    assert to_rgb(Image.open(stored)).size == (6, 4)


def test_an_orientation_that_is_none_turns_nothing() -> None:
    stored, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 0
    Image.new("RGB", (6, 4)).save(stored, "JPEG", exif=exif)
    assert to_rgb(Image.open(stored)).size == (6, 4)
