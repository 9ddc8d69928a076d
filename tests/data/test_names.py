from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.data.names import clean_name, read_names, tiny_imagenet_names
from zsrobust.errors import RequestError

FOLDERS = ["ant", "bee", "cow"]


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("aquarium_fish", "aquarium fish"),
        ("Faces-easy", "faces easy"),
        ("baluster / handrail", "baluster handrail"),
        ("  CD\tplayer\n", "cd player"),
        ("___", ""),
    ],
)
def test_clean_name_follows_the_rule(name: str, cleaned: str) -> None:
    assert clean_name(name) == cleaned


@given(st.text())
def test_clean_name_is_settled_after_one_pass(name: str) -> None:
    once = clean_name(name)
    assert clean_name(once) == once
    assert not set("_-/\t\n") & set(once)
    assert "  " not in once


def test_one_name_a_line_in_folder_order_as_written(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# ours\nCarpenter Ant\nhoney-bee \ncafé\r\n", encoding="utf-8-sig")
    assert read_names(path, FOLDERS) == ("Carpenter Ant", "honey-bee", "café")


def test_folder_and_name_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("cow\tHighland cow\nant\tfire ant\nbee\tbumblebee\n")
    assert read_names(path, FOLDERS) == ("fire ant", "bumblebee", "Highland cow")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ant\nbee\n", "2 class names for 3 class folders"),
        ("", "0 class names for 3 class folders"),
        ("ant\n\ncow\n", "line 2 is empty"),
        ("ant\n  \ncow\n", "line 2 is empty"),
        ("# note\nant\nbee\nAnt\n", "line 4 repeats the class name 'Ant' of line 2"),
        ("ant\tx\nbee\ty\ncow\n", "line 3 has no tab"),
        ("ant\tx\nbee\ty\nsow\tz\n", "line 3 names the folder 'sow'"),
        ("ant\tx\nbee\ty\nbee\tz\n", "line 3 names the folder 'bee' again"),
        ("ant\tx\nbee\t\ncow\tz\n", "line 2 is empty or lacks a name"),
        ("ant\tx\nbee\ty\n", "lacks 1 of the 3 class folders, first 'cow'"),
    ],
)
def test_a_wrong_file_is_refused_where_it_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(RequestError, match=message) as caught:
        read_names(path, FOLDERS)
    assert str(path) in str(caught.value)


def test_an_absent_file_and_another_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        read_names(tmp_path / "absent.txt", FOLDERS)
    path = tmp_path / "latin.txt"
    path.write_bytes("ant\nbee\ncafé\n".encode("latin-1"))
    with pytest.raises(RequestError, match="not UTF-8"):
        read_names(path, FOLDERS)


def test_tiny_imagenet_has_200_different_names() -> None:
    names = tiny_imagenet_names()
    assert len(names) == 200
    assert len(set(names.values())) == 200
    assert list(names) == sorted(names)
    assert all(name and name == clean_name(name) for name in names.values())
    assert names["n01443537"] == "goldfish"
    assert names["n02124075"] == "egyptian mau"


def test_tiny_imagenet_names_agree_with_the_imagenet_list() -> None:
    open_clip = pytest.importorskip("open_clip")
    timm_data = pytest.importorskip("timm.data")
    synsets = timm_data.ImageNetInfo("imagenet-1k").label_names()
    names = dict(zip(synsets, open_clip.IMAGENET_CLASSNAMES, strict=True))
    for wnid, name in tiny_imagenet_names().items():
        assert name == clean_name(names[wnid])


def test_tiny_imagenet_names_cover_the_published_list(shared_data) -> None:
    wnids = (shared_data("tiny-imagenet-200") / "wnids.txt").read_text().split()
    assert set(wnids) == set(tiny_imagenet_names())
