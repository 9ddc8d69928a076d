from pathlib import Path

import pytest

from zsrobust.data.published.sets import published_sets
from zsrobust.data.suites import SUITES, Suite, expand, single
from zsrobust.utils.errors import RequestError


def lay(folder: Path, kind: str) -> Path:
    """The files that tell a set is there, in its own folder below ``folder``."""
    known = published_sets()[kind]
    own = folder / known.places[0]
    for part in known.needs:
        (own / part).parent.mkdir(parents=True, exist_ok=True)
        (own / part).mkdir() if "." not in Path(part).name else (own / part).write_text("")
    return own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for kind in list(published_sets())[:16]:
        lay(tmp_path / kind, kind)
    return tmp_path


def test_other_specifications_are_left_alone() -> None:
    specs = ["digits", "imagefolder:/a,b:paper16", "cifar10:/x,resolution=64"]
    assert expand(specs) == specs


def test_paper16_is_the_sixteen_those_without_a_split_whole(root: Path) -> None:
    specs = expand([f"paper16:{root}", "digits"])
    kinds = [spec.partition(":")[0] for spec in specs]
    assert kinds == [*list(published_sets())[:16], "digits"]
    whole = {spec.partition(":")[0] for spec in specs if spec.endswith(",split=all")}
    assert whole == {"sun397", "eurosat", "caltech101", "caltech256"}
    assert f"food101:{root}/food101/food-101" in specs
    assert f"imagenet:{root}/imagenet" in specs


def test_sets_may_lie_side_by_side(root: Path) -> None:
    (root / "food101/food-101").rename(root / "food-101")
    (root / "food101").rmdir()
    assert f"food101:{root}/food-101" in expand([f"paper16:{root}"])


def test_options_hold_for_every_set(root: Path) -> None:
    target = root.with_name("sets, all,v=2")
    root.rename(target)
    specs = expand([f"paper16:{target},resolution=64,prompts=clip"])
    assert all(spec.endswith(",resolution=64,prompts=clip") for spec in specs)
    assert f"sun397:{target}/sun397/SUN397,split=all,resolution=64,prompts=clip" in specs


def test_everything_that_is_missing_is_named_at_once(root: Path) -> None:
    (root / "dtd").rename(root / "elsewhere")
    (root / "flowers102/flowers-102/setid.mat").unlink()
    with pytest.raises(RequestError) as caught:
        expand([f"paper16:{root}"])
    said = str(caught.value)
    assert "lacks 2 of its 16 sets" in said
    assert f"dtd ({root}/dtd/dtd)" in said
    assert f"flowers102 ({root}/flowers102/flowers-102/setid.mat)" in said
    assert f"zsrobust data prepare NAME --root {root}" in said
    assert "food101" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("paper16", "names no folder: write paper16:ROOT"),
        ("paper16:/absent", "names no folder"),
        ("paper16:/absent,split=all", "gives split, which differs from set to set"),
        ("glyphs,classes=3", "gives classes, which differs from set to set"),
        ("paper16:/absent,name=x", "gives name"),
        ("paper16:/absent,colour=x", "unknown key 'colour'"),
        ("few:/x", "gives a path, which few has none of: write few"),
    ],
)
def test_wrong_requests_are_refused_in_one_sentence(monkeypatch, spec: str, message: str) -> None:
    monkeypatch.setitem(SUITES, "few", Suite(lambda: ("digits", "digits,name=again")))
    with pytest.raises(RequestError, match=message):
        expand([spec])


def test_a_suite_without_a_path(monkeypatch) -> None:
    monkeypatch.setitem(SUITES, "few", Suite(lambda: ("digits", "digits,name=again")))
    assert expand(["few,resolution=16"]) == [
        "digits,resolution=16",
        "digits,name=again,resolution=16",
    ]


def test_fine_tuning_takes_one_set() -> None:
    assert single("digits") == "digits"
    with pytest.raises(RequestError, match=r"'paper16:/x' is a suite of sets"):
        single("paper16:/x")
