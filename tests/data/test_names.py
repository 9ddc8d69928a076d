from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.data.names import clean_name, tiny_imagenet_names
from zsrobust.data.names.name_file import name_rows, read_names
from zsrobust.utils.errors import RequestError

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


@pytest.fixture
def joined(tmp_path: Path):
    """What each folder is called by a class-name file of these lines; folders sorted as text."""

    def join(folders, lines, say=lambda _: None):
        path = tmp_path / "names.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        folders = sorted(folders)
        return dict(zip(folders, read_names(path, folders, say), strict=True))

    return join


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize("width", [1, 2])
def test_names_alone_are_for_folders_by_their_number(joined, first: int, width: int) -> None:
    words = [f"name of {word}" for word in "abcdefghijklmn"]
    called = joined([f"{first + i:0{width}}" for i in range(14)], words)
    assert called == {f"{first + i:0{width}}": word for i, word in enumerate(words)}


@given(st.permutations(["Half_circle", "ring", "T-shirt", "10", "2"]))
def test_the_folders_own_names_are_joined_by_spelling(tmp_path_factory, names) -> None:
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("\n".join(name.upper().replace("_", " ") for name in names) + "\n")
    folders = ["10", "2", "Half_circle", "T-shirt", "ring"]
    assert [clean_name(name) for name in read_names(path, folders)] == [
        clean_name(folder) for folder in folders
    ]


@pytest.mark.parametrize(
    "lines",
    [
        ["triangle", "square", "disc", "ring"],
        ["a triangle", "a square", "a circle", "a ring"],
        ["rings", "circles", "squares", "triangles"],
        ["ring", "wheel", "square", "triangle"],
    ],
)
def test_a_name_that_is_another_folders_is_refused(joined, lines) -> None:
    with pytest.raises(RequestError, match="by its spelling: write folder, tab and name"):
        joined(["circle", "ring", "square", "triangle"], lines)


@pytest.mark.parametrize(
    ("folders", "lines"),
    [
        (["circle", "half_circle", "ring"], ["a circle", "a half circle", "a finger ring"]),
        (["no_tumor", "tumor"], ["a healthy brain", "a brain with a tumor"]),
        (["normal", "tumor"], ["a brain without tumor", "a brain with a tumor"]),
        (["cat", "catfish", "dog", "hot_dog"], ["Cat", "Wels", "Hound", "Hot dog in a bun"]),
        (["a", "b"], ["a dog", "a cat"]),
        (["glass", "glasses"], ["wine glass", "a pair of glasses"]),
        (["001.ant", "002.bee"], ["Ant", "Bee"]),
        (["n01443537", "n02124075"], ["goldfish", "egyptian mau"]),
        (["1", "2"], ["route 66", "exit 2"]),
    ],
)
def test_names_in_their_order_raise_no_alarm(joined, folders, lines) -> None:
    said: list[str] = []
    assert list(joined(folders, lines, said.append).values()) == lines
    assert said == []


@pytest.mark.parametrize(
    "folders",
    [
        [f"class_{i}" for i in range(11)],
        ["0", "1", "10", "2", "background"],
        ["1", "01", "2"],
        ["1.5", "10.5", "2.5"],
    ],
)
def test_names_alone_are_refused_where_numbers_and_text_differ_in_order(joined, folders) -> None:
    lines = [f"word {chr(97 + i)}" for i in range(len(folders))]
    with pytest.raises(RequestError, match="write folder, tab and name on every line"):
        joined(folders, lines)
    called = dict(zip(folders, lines, strict=True))
    assert joined(folders, [f"{folder}\t{name}" for folder, name in called.items()]) == called


def test_capitals_that_decide_the_order_are_said(joined) -> None:
    said: list[str] = []
    assert joined(["Zebra", "ant"], ["Wild", "Small"], said.append) == {
        "Zebra": "Wild",
        "ant": "Small",
    }
    assert len(said) == 1
    assert "'Wild' is 'Zebra'" in said[0]


def test_a_folder_is_known_by_its_number_and_by_its_letters(joined) -> None:
    assert joined(["01", "02", "10"], ["10\tant", "1\tbee", "2\tcow"]) == {
        "01": "bee",
        "02": "cow",
        "10": "ant",
    }
    assert joined(["1", "01"], ["1\tant", "01\tbee"]) == {"1": "ant", "01": "bee"}
    with pytest.raises(RequestError, match="'001', which is not among"):
        joined(["1", "01"], ["1\tant", "001\tbee"])
    with pytest.raises(RequestError, match="'1' again"):
        joined(["01", "02"], ["01\tant", "1\tbee"])
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert joined([apart, "bar"], [f"{composed}\tCoffee", "bar\tBeer"])[apart] == "Coffee"
    assert joined([apart, "bar"], [composed, "bar"])[apart] == composed


@pytest.mark.parametrize(
    "lines",
    [
        ["0 ant", "1 bee", "2 cow"],
        ["1, ant", "2, bee", "3, cow"],
        ["n01443537 goldfish", "n02124075 cat", "n09428293 beach"],
        ["1 001.Ant", "2 002.Bee", "3 003.Cow"],
    ],
)
def test_a_code_before_every_name_without_a_tab_is_refused(tmp_path: Path, lines) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RequestError, match=r"but no tab: write code, tab and name"):
        read_names(path, FOLDERS)


@pytest.mark.parametrize("lines", [["2012 tesla", "2008 audi", "7 up"], ["1 euro", "2 euro", "x"]])
def test_numbers_that_belong_to_names_are_taken(tmp_path: Path, lines) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(lines) + "\n")
    assert list(read_names(path, FOLDERS)) == lines


def test_a_number_of_any_length_is_a_name_or_a_folder(joined) -> None:
    long = "9" * 5000
    assert joined(["a", "b"], [f"b\t{long}", "a\tx"]) == {"a": "x", "b": long}
    with pytest.raises(RequestError, match="which is not among"):
        joined(["a", "b"], [f"{long}\tx", "a\ty"])
    lines = [f"{long} x", f"{long} y"]
    assert list(joined(["a", "b"], lines).values()) == lines


@pytest.mark.parametrize(
    "text",
    [
        '["ant", "bee", "cow"]',
        '[\n"ant",\n"bee",\n"cow"\n]\n',
        '{\n"0": "ant",\n"1": "bee",\n"2": "cow"\n}\n',
        "classes = [\n'ant',\n'bee',\n'cow',\n]\n",
        "names:\n  0: ant\n  1: bee\n  2: cow\n",
        "- ant\n- bee\n- cow\n",
        "ant,\nbee,\ncow\n",
        "ant;\nbee;\ncow;\n",
        '"ant"\n"bee"\n"cow"\n',
    ],
)
def test_a_list_in_code_is_no_list_of_names(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(RequestError, match="write the names alone, one a line") as caught:
        name_rows(path)
    assert str(path) in str(caught.value)


def test_a_table_of_codes_below_a_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("id,name\n0,ant\n1,bee\n2,cow\n")
    with pytest.raises(RequestError, match="below the header 'id,name'") as caught:
        name_rows(path)
    assert "line 2 has the code '0'" in str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        ["[unknown]", "bee's", "[other]"],
        ['a "fly"', '"bee"', "cow"],
        ["Washington, D.C.", "Paris,", "Rome"],
        ["T - shirt", "-", "bag"],
    ],
)
def test_signs_within_some_names_are_theirs(joined, lines) -> None:
    assert list(joined(FOLDERS, lines).values()) == lines


@pytest.mark.parametrize("between", [",", ", ", ": ", "=", " -> ", ";"])
def test_folders_before_names_without_a_tab_are_noticed(joined, between: str) -> None:
    said: list[str] = []
    lines = [f"{folder}{between}x{folder}" for folder in FOLDERS]
    assert list(joined(FOLDERS, lines, said.append).values()) == lines
    assert len(said) == 1
    assert "begins with its folder" in said[0]
    with pytest.raises(RequestError, match="write folder, tab and name"):
        joined(FOLDERS, lines[::-1])


def test_numbers_behind_the_folders_are_noticed(joined) -> None:
    said: list[str] = []
    joined(FOLDERS, ["ant\t0", "bee\t1", "cow\t2"], said.append)
    assert len(said) == 1
    assert "'ant' the name '0'" in said[0]
    joined(["digit_0", "digit_1"], ["digit_0\t0", "digit_1\t1"], said.append)
    joined(FOLDERS, ["ant\t0", "bee\t1", "cow\tox"], said.append)
    assert len(said) == 1
