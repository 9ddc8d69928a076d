import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, features

from zsrobust.data.image_folder import image_folder
from zsrobust.data.readers import decoded, found_below, images_below, opened, subfolders
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header promises that many grey pixels; there are none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def test_all_suffixes_in_any_case_and_nothing_else(tmp_path: Path) -> None:
    wanted = ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff", "ppm", "pgm"]
    for suffix in (*wanted, *(suffix.upper() for suffix in wanted), "txt", "mat", "jpg.part"):
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / f"{suffix.replace('.', '')}-file.{suffix}").touch()
    (tmp_path / "c" / "jpg").touch()
    assert len(images_below(tmp_path, "c")) == 20


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        *(("jfif", "JPEG"), ("jpe", "JPEG"), ("JFIF", "JPEG"), ("mpo", "MPO"), ("jp2", "JPEG2000")),
        *(("pbm", "PPM"), ("apng", "PNG")),
    ],
)
def test_other_suffixes_of_the_formats_are_read(tmp_path: Path, suffix: str, form: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    image = Image.fromarray(levels)
    image = image.convert("1") if suffix == "pbm" else image
    path = tmp_path / "c" / f"x.{suffix}"
    path.parent.mkdir()
    image.save(path, form)
    assert images_below(tmp_path, "c") == [f"c/x.{suffix}"]
    with Image.open(path) as expected:
        read = decoded(path.read_bytes())
        assert read.tobytes() == expected.tobytes()


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_where_pillow_can(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "c/x.avif", quality=100)
    assert images_below(tmp_path, "c") == ["c/x.avif"]
    red, green, blue = decoded((tmp_path / "c/x.avif").read_bytes()).getpixel((8, 8))
    assert abs(red - 200) < 6
    assert max(abs(green - 30), abs(blue - 30)) < 6


def test_what_is_no_image_is_counted_and_what_systems_leave_is_not(tmp_path: Path) -> None:
    for name in (
        *("c/a.heic", "c/deep/b.HEIC", "c/jpg", "c/c.jpg_large", "c/x.jpg", "c/Mr. T at work"),
        *("c/Thumbs.db", "c/.DS_Store", "c/._x.jpg", "c/desktop.ini"),
        *("c/@eaDir/x.jpg/thumb.jpg", "c/__MACOSX/x.heic", "@eaDir/y.jpg", "__MACOSX/c/x.jpg"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = found_below(tmp_path, "c")
    assert found.images == ["c/x.jpg"]
    assert found.others == {".heic": 2, "": 2, ".jpg_large": 1}
    assert subfolders(tmp_path) == ["c"]


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("c/.cache/x.jpg", "c/._x.jpg", "c/x.jpg", ".git/y.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert images_below(tmp_path, "c") == ["c/x.jpg"]
    assert subfolders(tmp_path) == ["c"]


def test_link_loops_end_and_linked_folders_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/x.jpg").touch()
    (tmp_path / "root/c").mkdir(parents=True)
    (tmp_path / "root/c/up").symlink_to(tmp_path / "root")
    (tmp_path / "root/c/self").symlink_to(tmp_path / "root/c/self")
    (tmp_path / "root/c/first").symlink_to(tmp_path / "store")
    (tmp_path / "root/c/second").symlink_to(tmp_path / "store")
    assert images_below(tmp_path / "root", "c") == ["c/first/x.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such file names")
def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "c") + b"/caf\xe9.jpg")).touch()
    with pytest.raises(RequestError, match="not UTF-8"):
        images_below(tmp_path, "c")


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot list the folder"):
        subfolders(tmp_path / "absent")
    with pytest.raises(RequestError, match="cannot list the folder"):
        images_below(tmp_path, "absent")


def test_an_image_of_more_pixels_than_the_limit_is_unreadable_and_named(tmp_path, write_image):
    write_image(tmp_path / "photos/a/0.png")
    write_image(tmp_path / "photos/b/0.png")
    (tmp_path / "photos/a/bomb.png").write_bytes(png_of(100_000, 100_000))
    with pytest.raises(RequestError, match=r"a/bomb\.png: .*exceeds limit of 178956970 pixels"):
        verify(image_folder(tmp_path / "photos"), "stop")
    rest, left_out = verify(image_folder(tmp_path / "photos"), "skip")
    assert (len(rest), left_out) == (2, ["a/bomb.png"])


def test_up_to_the_limit_nothing_is_said_by_any_thread() -> None:
    limit = 2 * Image.MAX_IMAGE_PIXELS
    below, above = png_of(limit // 10_000, 10_000), png_of(limit // 10_000 + 1, 10_000)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(lambda _: opened(below).size, range(200)))
        filters = list(warnings.filters)
    assert set(sizes) == {(limit // 10_000, 10_000)}
    assert said == []
    assert filters[0][:1] == ("always",), "the process's own filters are as they were"
    with pytest.raises(Image.DecompressionBombError):
        opened(above)


def test_postscript_under_another_name_reaches_no_interpreter(tmp_path, monkeypatch) -> None:
    stored = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stored, "EPS")
    run: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr(subprocess, "check_call", lambda *given, **_: run.append(given))
    with Image.open(io.BytesIO(stored.getvalue())) as image, suppress(OSError):
        image.load()
    assert len(run) == 1, "Pillow alone does call it"
    with pytest.raises(OSError, match="cannot identify"):
        decoded(stored.getvalue())
    assert len(run) == 1
