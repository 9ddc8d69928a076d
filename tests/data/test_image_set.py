import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from zsrobust.data.image_folder import image_folder
from zsrobust.data.readers import FileReader
from zsrobust.utils.errors import RequestError, RunError


def test_subset_keeps_everything_of_a_sample_together(memory_set) -> None:
    whole = memory_set([0, 1, 2, 1])
    part = whole.subset([3, 0]).subset([1, 0])
    assert list(part.sample_ids) == ["sample-0", "sample-3"]
    assert list(part.labels) == [0, 1]
    assert [part.read_rgb(i).getpixel((0, 0))[0] for i in range(2)] == [0, 3]
    assert part.class_names == whole.class_names
    assert len(whole.subset([])) == 0


def test_a_sample_is_named_by_path_or_by_set_and_id(memory_set, folder_root: Path) -> None:
    assert memory_set([0, 0]).where(1) == "memory/test sample-1"
    files = image_folder(folder_root)
    assert files.where(0) == str(folder_root / "dog" / "c.jpeg")
    assert files.subset([2]).where(0) == str(folder_root / "tabby_Cat" / "more" / "b.JPG")


def test_an_unreadable_file_is_named_with_its_path_and_reason(folder_root: Path) -> None:
    files = image_folder(folder_root)
    (folder_root / "dog/c.jpeg").write_text("no picture")
    with pytest.raises(RunError, match="not an image") as caught:
        files.read_rgb(0)
    assert str(folder_root / "dog/c.jpeg") in str(caught.value)
    (folder_root / "dog/c.jpeg").unlink()
    with pytest.raises(RunError, match=r"c\.jpeg: No such file"):
        files.read_rgb(0)


def test_a_decompression_bomb_is_unreadable(folder_root: Path, monkeypatch) -> None:
    files = image_folder(folder_root)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(RunError, match="decompression bomb"):
        files.read_rgb(0)


def test_a_strip_that_no_memory_would_hold_resized_is_unreadable(memory_set) -> None:
    for size, ok in (((1, 100), True), ((101, 1), False), ((100_000, 2), False)):
        strip = replace(memory_set([0]), read_image=lambda _, size=size: Image.new("L", size))
        if ok:
            assert strip.read_rgb(0).size == size
        else:
            with pytest.raises(RunError, match=r"pixels: a side may be 100 times the other"):
                strip.read_rgb(0)


def test_sets_and_their_subsets_can_be_sent_to_another_process(folder_root: Path) -> None:
    files = image_folder(folder_root).subset([2, 1])
    copy = pickle.loads(pickle.dumps(files))
    assert copy.read_rgb(0).tobytes() == files.read_rgb(0).tobytes()


def test_a_file_is_closed_after_reading(folder_root: Path) -> None:
    image = FileReader(folder_root, ["tabby_Cat/a.png"])(0)
    assert image.fp is None or image.fp.closed
    assert image.getpixel((0, 0)) is not None


@pytest.mark.parametrize("letter", ["\x1b[2J", "\0", "\n", "\x9b", "\x7f"])
def test_a_name_that_would_steer_a_terminal_is_refused(memory_set, letter: str) -> None:
    whole = memory_set([0, 1])
    for changes in (
        {"class_names": ("cat", f"dog{letter}")},
        {"name": f"set{letter}"},
        {"split": f"test{letter}"},
    ):
        with pytest.raises(RequestError, match="holds a control character") as caught:
            replace(whole, **changes)
        assert letter not in str(caught.value)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "{}", "{0.__class__}", "%s", "日本"])
def test_any_other_name_is_kept_as_it_is(memory_set, name: str) -> None:
    assert replace(memory_set([0, 1]), class_names=("cat", name)).class_names[1] == name
