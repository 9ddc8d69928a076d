import re

import pytest

from zsrobust.data.names import class_names, names_by_spelling, published_spellings
from zsrobust.data.published.readers import READERS
from zsrobust.data.published.sets import published_sets, shortfall
from zsrobust.data.registry import kinds
from zsrobust.evaluation.comparison.published import load_published
from zsrobust.utils.errors import RequestError

OWN = ("tiny-imagenet", "cifar10", "cifar100")
NAMED = [kind for kind in published_sets() if kind not in OWN]


def test_the_sixteen_are_those_of_the_printed_tables() -> None:
    """And under names by which printed rows are found beside ours."""
    printed = {name for row in load_published() for name in row.accuracies}
    plain = {re.sub(r"\W", "", name).lower() for name in printed}
    assert plain == {kind.replace("-", "") for kind in list(published_sets())[:16]}


def test_every_set_can_be_opened() -> None:
    readers = {*READERS, "class_folders", "split_folders"}
    assert {known.reader for known in published_sets().values()} == readers | set(OWN)
    for kind, known in published_sets().items():
        assert set(kinds()[kind].splits.values()) <= set(known.counts)
        assert known.url or known.torchvision or known.steps


@pytest.mark.parametrize("known", published_sets().values(), ids=list(published_sets()))
def test_counts_are_consistent(known) -> None:
    counts = known.counts
    if known.own_split:
        assert counts["test"] == round(0.2 * counts["all"])
        assert counts["train"] + counts["test"] == counts["all"]
    if {"train", "val", "trainval"} <= set(counts):
        assert counts["train"] + counts["val"] == counts["trainval"]
    # Sets balanced by construction, as their papers say.
    balanced = {"cifar10", "cifar100", "stl10", "food101", "dtd", "country211", "imagenet"}
    if known.kind in balanced | {"imagenet-v2", "tiny-imagenet"}:
        assert counts[known.test] % known.classes == 0


@pytest.mark.parametrize("kind", NAMED)
def test_every_class_has_a_name_of_its_own(kind: str) -> None:
    names = names_by_spelling(kind)
    assert len(names) == published_sets()[kind].classes
    assert len({name.lower() for name in names.values()}) == len(names)
    for name in names.values():
        assert name == " ".join(name.split())
        assert name.isascii()
        assert not re.search(r"[_{}\t]|^\W", name)


@pytest.mark.parametrize("kind", NAMED)
def test_names_follow_the_spelling_whatever_the_order(kind: str) -> None:
    spelled = published_spellings(kind)
    straight, reversed_ = class_names(kind, spelled), class_names(kind, spelled[::-1])
    assert reversed_ == straight[::-1]
    with pytest.raises(RequestError, match=r"not the published"):
        class_names(kind, spelled[:-1])
    with pytest.raises(RequestError, match=r"have 'intruder'|lack"):
        class_names(kind, [*spelled[1:], "intruder"])
    with pytest.raises(RequestError, match=r"a class twice"):
        class_names(kind, [*spelled, spelled[0]])


def test_imagenets_names_mend_the_two_doubles_of_open_clip() -> None:
    import open_clip

    from zsrobust.data.names import clean_name

    names = list(names_by_spelling("imagenet").values())
    cleaned = [clean_name(name) for name in open_clip.IMAGENET_CLASSNAMES]
    changed = [at for at, (a, b) in enumerate(zip(names, cleaned, strict=True)) if a != b]
    assert changed == [744, 836]
    assert cleaned[744] == names[657] == "missile"
    assert cleaned[836] == names[837] == "sunglasses"


def test_tiny_imagenet_has_imagenets_names() -> None:
    from zsrobust.data.names import tiny_imagenet_names

    imagenet = names_by_spelling("imagenet")
    doubles = {"n04008634", "n04355933"}
    for wnid, name in tiny_imagenet_names().items():
        assert wnid in doubles or imagenet[wnid] == name


def test_a_short_set_is_told(memory_set) -> None:
    from dataclasses import replace

    part = replace(memory_set([0, 1, 2, 2]), name="mine", origin="dtd", split="test")
    said = "mine/test has 4 images of 3 classes, the published one 1880 of 47 classes"
    assert shortfall(part) == said
    images = replace(part, class_names=tuple(f"class {label}" for label in range(47)))
    assert shortfall(images) == "mine/test has 4 images, the published one 1880"
    assert shortfall(replace(images, origin="/photos")) == ""
    assert shortfall(replace(images, labels=(0,) * 1880, sample_ids=("x",) * 1880)) == ""
