from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.data.specification import KEYS, parse_specification
from zsrobust.utils.errors import RequestError


def test_kind_alone_and_kind_with_path() -> None:
    assert parse_specification("digits").kind == "digits"
    assert parse_specification("digits").path is None
    parsed = parse_specification("imagefolder:/data/my set")
    assert (parsed.kind, parsed.path) == ("imagefolder", Path("/data/my set"))


def test_every_key(tmp_path: Path) -> None:
    templates = tmp_path / "templates.txt"
    templates.write_text("a photo of a {}.\n{} in a photo\n")
    parsed = parse_specification(
        f"imagefolder:/a,split=all,names=/n,1.txt,name=my pets,resolution=64,templates={templates}"
        ",classes=-5"
    )
    assert parsed.classes == -5
    assert parsed.path == Path("/a")
    assert parsed.split == "all"
    assert parsed.names == Path("/n,1.txt")
    assert parsed.name == "my pets"
    assert parsed.resolution == 64
    assert parsed.templates == ("a photo of a {}.", "{} in a photo")


word = st.text("abcXYZ019 ._-:é", min_size=1).map(lambda text: f"x{text}")


@given(
    st.lists(word, min_size=1, max_size=5).map(",".join),
    st.dictionaries(st.sampled_from(["split", "name", "names"]), word),
)
def test_commas_in_paths_are_kept(path: str, options: dict[str, str]) -> None:
    text = "".join(f",{key}={value}" for key, value in options.items())
    parsed = parse_specification(f"imagefolder:/{path}{text}")
    assert parsed.path == Path(f"/{path}")
    assert parsed.split == options.get("split")
    assert parsed.name == options.get("name")
    assert parsed.names == (Path(options["names"]) if "names" in options else None)


def test_home_is_expanded(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_specification("cifar10:~/data").path == Path("/home/someone/data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digits,colour=red", "unknown key 'colour'"),
        ("imagefolder:/absent,colour=red", "unknown key 'colour'"),
        ("digits,split=test,colour=red", "unknown key 'colour'"),
        ("imagefolder:/x,names=/y,colour=red", "unknown key 'colour'"),
        ("digits,split=test,split=train", "gives split twice"),
        ("digits,name=", "gives no value for name"),
        ("digits,classes=0", "classes '0'"),
        ("digits,classes=5.5", "classes '5.5'"),
        ("digits,resolution=0", "resolution '0'"),
        ("digits,resolution=-1", "resolution '-1'"),
        ("digits,resolution=2.5", "resolution '2.5'"),
        ("digits,resolution=²", "resolution '²'"),
        ("digits,templates=/absent.txt", "cannot read the templates file /absent.txt"),
    ],
)
def test_wrong_specifications_are_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_specification(text)


def test_an_unknown_key_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=f"the keys are {', '.join(KEYS)}"):
        parse_specification("digits,colour=red")


def test_a_folder_spelled_like_a_key_is_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "run,lr=1"
    path.mkdir()
    assert parse_specification(f"imagefolder:{path},split=all").path == path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a photo of a {}\na photo\n", "line 2 is .* in it once"),
        (b"{} and {}\n", "line 1 is .* in it once"),
        (b"{} and {0}\n", "line 1 is .* in it once"),
        (b"a {} }\n", "line 1 is .* in it once"),
        (b"a {}\n\n", "line 2 is .* in it once"),
        (b"caf\xe9 {}\n", "not UTF-8"),
    ],
)
def test_wrong_templates_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "templates.txt"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=message):
        parse_specification(f"digits,templates={path}")
