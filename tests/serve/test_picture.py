import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from zsrobust.data.loading import load_batches
from zsrobust.data.registry import open_set
from zsrobust.serve.limits import Limits
from zsrobust.serve.picture import read_picture
from zsrobust.utils.errors import RequestError


def colour_at(picture, place=(0, 0)):
    assert picture.image.mode == "RGB"
    return picture.image.getpixel(place)


def test_every_mode_is_read_as_in_an_evaluation(saved, solid):
    limits = Limits()
    path = saved(solid(9, 7, "CMYK", (255, 0, 0, 0)), "cyan.tif")
    red, green, blue = colour_at(read_picture(path, limits))
    assert red < 60
    assert min(green, blue) > 150
    grey16 = Image.fromarray(np.full((4, 4), 257 * 77, dtype=np.uint16))
    assert colour_at(read_picture(saved(grey16, "deep.png"), limits)) == (77, 77, 77)
    # Transparency lies on white.
    path = saved(solid(4, 4, "RGBA", (0, 0, 0, 0)), "clear.png")
    assert colour_at(read_picture(path, limits)) == (255, 255, 255)
    assert read_picture(path, limits).notes == ()


def test_the_first_frame_of_an_animation_is_used_with_a_note(saved, solid):
    first, second = solid(8, 8, colour="red"), solid(8, 8, colour="blue")
    path = saved(first, "moving.gif", save_all=True, append_images=[second])
    picture = read_picture(path, Limits())
    assert colour_at(picture) == (255, 0, 0) or colour_at(picture)[0] > 250
    assert "first one is used" in picture.notes[0]


def test_exif_rotation_is_applied_once_with_a_note(saved, noise):
    exif = Image.Exif()
    exif[0x0112] = 6
    levels = noise(20, 20)
    path = saved(Image.fromarray(levels), "turned.png", exif=exif)
    picture = read_picture(path, Limits())
    assert "EXIF" in picture.notes[0]
    # By the standard, the first stored row is the right side, from top to bottom.
    upright = levels.swapaxes(0, 1)[:, ::-1]
    assert (np.asarray(picture.image) == upright).all()
    seen = picture.pixels(32, "clip")[0].permute(1, 2, 0).numpy() * 255
    assert (seen == upright).all()


def png_header(width, height):
    """A PNG file that promises so many pixels and holds none."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text, no image", "is not an image: give one of BMP, GIF, JPEG"),
        (b"", "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
        (png_header(5001, 5000), "too many pixels: give at most 25 million"),
        (png_header(60000, 60000), "too many pixels"),
        (png_header(2000, 10), "2000 x 10 pixels: give one whose longer side is at most 20 times"),
        (png_header(8, 8), "is damaged"),
        (b"x" * 8_000_001, "is too large: give at most 8 MB"),
    ],
    ids=["text", "empty", "postscript", "svg", "large", "bomb", "thin", "cut off", "bytes"],
)
def test_what_is_no_image_or_too_large_is_refused(tmp_path, content, message):
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as refused:
        read_picture(path, Limits(), "holiday.png")
    assert str(refused.value).startswith("'holiday.png' ")


def test_a_file_that_is_gone_is_asked_for_again(tmp_path):
    with pytest.raises(RequestError, match="no longer on the server: choose it again"):
        read_picture(tmp_path / "gone.png", Limits())


@pytest.mark.parametrize("resize", ["clip", "authors_code"])
def test_a_photograph_is_resized_as_the_evaluation_does(tmp_path, noise, resize):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "photos" / "dog").mkdir()
    path = tmp_path / "photos" / "cat" / "a.png"
    Image.fromarray(noise(90, 70)).save(path)
    Image.fromarray(noise(9, 9)).save(tmp_path / "photos" / "dog" / "b.png")
    images = open_set(f"imagefolder:{tmp_path / 'photos'}", "test")
    (batch,) = load_batches(images, [[0]], resize=resize, resolution=32)
    torch.testing.assert_close(
        read_picture(path, Limits()).pixels(32, resize), batch.images, rtol=0, atol=0
    )


def test_a_small_square_image_keeps_its_own_pixels(saved, noise):
    levels = noise(24, 24)
    pixels = read_picture(saved(Image.fromarray(levels)), Limits()).pixels(32, "clip")
    assert pixels.shape == (1, 3, 24, 24)
    assert (pixels[0].permute(1, 2, 0).numpy() * 255 == levels).all()
    assert read_picture(saved(Image.fromarray(noise(24, 20))), Limits()).pixels(
        32, "clip"
    ).shape == (1, 3, 32, 32)


def test_the_id_is_of_the_pixels_and_not_of_the_file(saved, noise):
    limits = Limits()
    image = Image.fromarray(noise(8, 6))
    one = read_picture(saved(image, "a.png"), limits).sample_id
    assert read_picture(saved(image, "b.bmp"), limits).sample_id == one
    turned = Image.fromarray(noise(8, 6).reshape(8, 6, 3))
    assert read_picture(saved(turned, "c.png"), limits).sample_id != one
