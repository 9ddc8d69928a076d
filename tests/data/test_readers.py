import os
import sys
from pathlib import Path

import pytest

from zsrobust.data.readers import images_below, subfolders
from zsrobust.errors import RequestError


def test_all_suffixes_in_any_case_and_nothing_else(tmp_path: Path) -> None:
    wanted = ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff", "ppm", "pgm"]
    for suffix in (*wanted, *(suffix.upper() for suffix in wanted), "txt", "mat", "jpg.part"):
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / f"{suffix.replace('.', '')}-file.{suffix}").touch()
    (tmp_path / "c" / "jpg").touch()
    assert len(images_below(tmp_path, "c")) == 20


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
