import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from zsrobust.data.image_folder import image_folder
from zsrobust.data.image_set import ImageSet
from zsrobust.data.verify import open_readable, stamped, verify
from zsrobust.utils.errors import RequestError


@pytest.fixture
def photographs(tmp_path: Path, write_image) -> Path:
    root = tmp_path / "photos"
    for i in range(6):
        write_image(root / f"{'ab'[i % 2]}/{i}.jpg", (40, 30), seed=i)
    return root


@pytest.fixture
def decoded(monkeypatch) -> Callable[[], list[str]]:
    """The file names decoded since it was last asked."""
    names: list[str] = []
    read = ImageSet.read_rgb

    def counted(self: ImageSet, index: int):
        names.append(Path(self.where(index)).name)
        return read(self, index)

    monkeypatch.setattr(ImageSet, "read_rgb", counted)

    def since() -> list[str]:
        found = sorted(names)
        names.clear()
        return found

    return since


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def not_an_image(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>")


def test_a_sound_set_comes_back_as_it_was(photographs: Path) -> None:
    files = image_folder(photographs)
    assert verify(files, "stop") == (stamped(files), [])


@pytest.mark.parametrize("damage", [truncate, empty, not_an_image, Path.unlink])
def test_stop_names_the_file_and_skip_leaves_it_out(photographs: Path, damage) -> None:
    files = image_folder(photographs)
    damage(photographs / "a/2.jpg")
    with pytest.raises(RequestError, match="1 of 6 images") as caught:
        verify(files, "stop")
    assert str(photographs / "a/2.jpg") in str(caught.value)
    assert "--on_unreadable skip" in str(caught.value)
    rest, left_out = verify(files, "skip")
    assert left_out == ["a/2.jpg"]
    assert list(rest.sample_ids) == ["a/0.jpg", "a/4.jpg", "b/1.jpg", "b/3.jpg", "b/5.jpg"]
    assert list(rest.labels) == [0, 0, 1, 1, 1]
    assert rest.read_rgb(1).tobytes() == files.read_rgb(2).tobytes()


def test_many_are_counted_and_the_first_named(photographs: Path) -> None:
    for i in range(5):
        truncate(photographs / f"{'ab'[i % 2]}/{i}.jpg")
    with pytest.raises(RequestError, match=r"5 of 6 .*a/0\.jpg.*a/2\.jpg.*a/4\.jpg.*; \.\.\."):
        verify(image_folder(photographs), "stop")


def test_nothing_left_is_refused_even_with_skip(photographs: Path) -> None:
    for path in photographs.rglob("*.jpg"):
        empty(path)
    with pytest.raises(RequestError, match="6 of 6"):
        verify(image_folder(photographs), "skip")


def test_half_images_are_never_let_through(photographs: Path) -> None:
    truncate(photographs / "a/0.jpg")
    verify(image_folder(photographs), "skip")
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_the_second_run_decodes_nothing(photographs: Path, decoded) -> None:
    verify(image_folder(photographs), "stop")
    assert len(decoded()) == 6
    verify(image_folder(photographs), "stop")
    assert decoded() == []


def test_a_changed_or_touched_file_is_decoded_again(photographs: Path, decoded) -> None:
    files = image_folder(photographs)
    verify(files, "stop")
    decoded()
    path = photographs / "b/1.jpg"
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    verify(files, "stop")
    assert "1.jpg" in decoded()
    truncate(path)
    with pytest.raises(RequestError):
        verify(files, "stop")


def test_a_file_cut_short_is_decoded_again_even_at_its_old_time(photographs: Path) -> None:
    files = image_folder(photographs)
    verify(files, "stop")
    path = photographs / "b/1.jpg"
    status = path.stat()
    truncate(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(RequestError):
        verify(files, "stop")


def test_an_unreadable_file_is_tried_again(photographs: Path, decoded) -> None:
    path = photographs / "a/0.jpg"
    sound = path.read_bytes()
    path.write_bytes(b"\0" * len(sound))
    status = path.stat()
    assert verify(image_folder(photographs), "skip")[1] == ["a/0.jpg"]
    decoded()
    assert verify(image_folder(photographs), "skip")[1] == ["a/0.jpg"]
    assert decoded() == ["0.jpg"]
    path.write_bytes(sound)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(image_folder(photographs), "skip")[1] == []


def test_files_of_several_images_are_counted_also_where_none_is_decoded_again(
    photographs: Path, decoded, capsys
) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a/moving.gif", "a/moving.png", "a/scan.tif", "b/moving.webp"):
        frames[0].save(photographs / name, save_all=True, append_images=frames[1:])
    # A phone's photograph with a preview is one image.
    frames[0].save(photographs / "b/phone.jpg", "MPO", save_all=True, append_images=frames[1:])
    frames[0].save(photographs / "b/still.gif")
    (photographs / "a/left.heic").touch()
    for decodes in (12, 0):
        found = open_readable(f"imagefolder:{photographs}", "test", "stop")
        left_out, several = found.notes
        assert "1 files in class folders are not read" in left_out
        assert "4 files hold several images" in several
        said = " ".join(capsys.readouterr().err.split())
        assert (said.count(left_out), said.count(several)) == (1, 1)
        assert len(decoded()) == decodes
    first = found.read_rgb(found.sample_ids.index("a/moving.gif")).getpixel((4, 4))
    assert first[0] > 250
    assert first[2] < 5


def test_pixels_kept_from_another_way_of_decoding_are_not_taken(photographs, monkeypatch) -> None:
    files = image_folder(photographs)
    before = stamped(files).stamp
    monkeypatch.setattr("zsrobust.data.verify.DECODING", 0)
    assert stamped(files).stamp != before


@pytest.mark.parametrize("content", [b"", b"{}", b'"x"', b"\xff", b"[1"])
def test_a_broken_cache_costs_time_only(photographs: Path, cache: Path, decoded, content) -> None:
    verify(image_folder(photographs), "stop")
    decoded()
    (kept,) = (cache / "verified").iterdir()
    kept.write_bytes(content)
    verify(image_folder(photographs), "stop")
    assert len(decoded()) == 6
    verify(image_folder(photographs), "stop")
    assert decoded() == []


def test_a_cache_that_cannot_be_written_costs_time_only(
    photographs: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZSROBUST_CACHE", str(tmp_path / "file"))
    assert verify(image_folder(photographs), "stop")[1] == []


def test_sets_in_memory_are_decoded_and_not_cached(memory_set, cache: Path) -> None:
    files = memory_set([0, 1, 1])
    assert verify(files, "stop") == (stamped(files), [])
    assert list(cache.iterdir()) == []


def test_progress_is_told_to_the_end(photographs: Path) -> None:
    told: list[tuple[int, int]] = []
    verify(image_folder(photographs), "stop", lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]
