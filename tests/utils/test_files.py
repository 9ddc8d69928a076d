import errno
import hashlib
import os
import pickle

import pytest

from zsrobust.utils.errors import NotWritten, RunError
from zsrobust.utils.files import (
    atomic_file,
    atomic_folder,
    near_folder,
    remove_unfinished,
    sha256_of,
    write_text,
)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "old"
    assert names(path.parent) == ["file.txt"]
    write_text(path, "new")
    assert path.read_text() == "new"


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
        (temporary / "a").write_text(str(1 / 0))
    assert (path / "a").read_text() == "old"
    with atomic_folder(path) as temporary:
        (temporary / "b").write_text("new")
    assert names(path) == ["b"]
    assert names(tmp_path) == ["folder"]
    plain = tmp_path / "plain"
    plain.mkdir()
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "sub" / ".folder.x1.tmp").mkdir(parents=True)
    (tmp_path / "sub" / ".folder.x1.tmp" / "half").touch()
    (tmp_path / ".file.txt.77.tmp").touch()
    (tmp_path / "sub" / "kept").touch()
    remove_unfinished(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["kept", "sub"]


def test_sha256(tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "big").write_bytes(content)
    assert sha256_of(tmp_path / "big") == hashlib.sha256(content).hexdigest()


def test_a_folder_that_stepped_aside_for_one_that_never_came_is_put_back(tmp_path):
    for name in ("sub/.model.x1.old", "sub/.model.x1.tmp", "sub/.kept.x2.old", "sub/kept"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "which").write_text(name)
    remove_unfinished(tmp_path)
    assert names(tmp_path / "sub") == ["kept", "model"]
    assert (tmp_path / "sub/model/which").read_text() == "sub/.model.x1.old"
    assert (tmp_path / "sub/kept/which").read_text() == "sub/kept"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("writer", [atomic_file, atomic_folder])
def test_a_failed_write_names_the_file(tmp_path, writer, number):
    path = tmp_path / "deep" / "results"
    with pytest.raises(NotWritten, match=r"results could not be written: ") as told, writer(path):
        raise OSError(number, os.strerror(number))
    assert isinstance(told.value, RunError)
    assert isinstance(told.value, OSError)
    assert told.value.errno == number
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)
    assert names(path.parent) == []


def test_other_failures_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic_file(tmp_path / "a"):
        (tmp_path / "elsewhere").read_text()


def test_the_folder_with_the_nearest_name_is_suggested(tmp_path):
    for name in ("PHOTOS", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "PHOTO.txt").write_text("")
    assert near_folder(tmp_path / "PHOTO") == f"; did you mean {tmp_path / 'PHOTOS'}?"
    assert near_folder(tmp_path / "elsewhere") == ""
    assert near_folder(tmp_path / "absent" / "PHOTO") == ""
