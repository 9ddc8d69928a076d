"""What a preset makes of names and templates, against what PMG-AFT's script and CLIP print."""

from collections import Counter

import pytest

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import class_names, published_spellings, tiny_imagenet_names
from zsrobust.data.published.prompts import expand_templates, prompts_of, templates, with_prompts
from zsrobust.data.published.sets import published_sets
from zsrobust.data.readers import FileReader
from zsrobust.utils.errors import RequestError

OWN = ("tiny-imagenet", "cifar10", "cifar100")


def opened(kind: str, names) -> ImageSet:
    from pathlib import Path

    return ImageSet(kind, "test", tuple(names), (), (), FileReader(Path(), ()))


def prompts(kind: str, preset: str) -> dict[str, str]:
    """The first prompt of each class, by its published spelling."""
    spelled = published_spellings(kind)
    images = with_prompts(opened(kind, class_names(kind, spelled)), kind, preset)
    first = (images.templates or ("This is a photo of a {}",))[0]
    return {s: first.format(n) for s, n in zip(spelled, images.class_names, strict=True)}


@pytest.mark.parametrize(
    ("kind", "spelling", "script", "ours"),
    [
        ("caltech101", "accordion", "A photo of a rdion.", "A photo of a accordion."),
        ("caltech101", "Faces_easy", "A photo of a s easy.", "A photo of a centered face."),
        ("caltech101", "ant", "A photo of a .", "A photo of a ant."),
        ("caltech256", "015.bonsai-101", "A photo of a bonsai 101.", "A photo of a bonsai."),
        ("caltech256", "001.ak47", "A photo of a ak47.", "A photo of a AK-47."),
        (
            "pcam",
            "0",
            "Tthis is a photo of healthy lymph node tissue.",
            "This is a photo of healthy lymph node tissue.",
        ),
        (
            "pcam",
            "1",
            "This is a photo of lymph node tumor tissue.",
            "This is a photo of lymph node tumor tissue.",
        ),
        (
            "stanford-cars",
            "Audi S4 Sedan 2007",
            "A photo of a audi s4 sedan.",
            "A photo of a Audi S4 Sedan 2007.",
        ),
        # Only refine_classname, for sets without prompts of their own, takes a slash out.
        (
            "stanford-cars",
            "Ram C/V Cargo Van Minivan 2012",
            "A photo of a ram c/v cargo van minivan.",
            "A photo of a Ram C/V Cargo Van Minivan 2012.",
        ),
        (
            "fgvc-aircraft",
            "737-700",
            "A photo of a boeing 737-700, a type of aircraft.",
            "A photo of a Boeing 737-700, a type of aircraft.",
        ),
        (
            "flowers102",
            "cyclamen",
            "A photo of a cyclamen , a type of flower.",
            "A photo of a cyclamen, a type of flower.",
        ),
        (
            "flowers102",
            "colt's foot",
            "A photo of a colts foot, a type of flower.",
            "A photo of a colt's foot, a type of flower.",
        ),
        (
            "eurosat",
            "SeaLake",
            "A centered satellite photo of a sea or a lake.",
            "A centered satellite photo of lake or sea.",
        ),
        (
            "dtd",
            "polka-dotted",
            "A surface with a polka dotted texture.",
            "A surface with a polka-dotted texture.",
        ),
        (
            "food101",
            "cup_cakes",
            "A photo of cup cakes, a type of food.",
            "A photo of cupcakes, a type of food.",
        ),
        (
            "imagenet",
            "n02012849",
            "This is a photo of a crane",
            "This is a photo of a crane bird",
        ),
        (
            "imagenet",
            "n02100236",
            "This is a photo of a german short haired pointer",
            "This is a photo of a german shorthaired pointer",
        ),
        ("stl10", "car", "This is a photo of a car", "This is a photo of a car"),
    ],
)
def test_the_scripts_prompts_and_ours(kind: str, spelling: str, script: str, ours: str) -> None:
    assert prompts(kind, "authors_code")[spelling] == script
    assert prompts(kind, "paper")[spelling] == ours


def test_the_scripts_doubles_of_imagenet_are_three() -> None:
    counts = Counter(prompts("imagenet", "authors_code").values())
    doubles = sorted(prompt.split()[-1] for prompt, n in counts.items() if n > 1)
    assert doubles == ["cardigan", "crane", "maillot"]


def test_tiny_imagenet_has_the_scripts_names_too() -> None:
    names = tiny_imagenet_names()
    images = opened("tiny-imagenet", names.values())
    script = with_prompts(images, "tiny-imagenet", "authors_code")
    by_wnid = dict(zip(names, script.class_names, strict=True))
    assert by_wnid["n01644900"] == "tailed frog"
    # The first WordNet lemma, where CLIP's list has another word.
    assert (names["n01641577"], by_wnid["n01641577"]) == ("american bullfrog", "bullfrog")
    assert with_prompts(images, "tiny-imagenet", "paper") == images


def test_a_set_that_the_script_lacks_is_refused() -> None:
    images = opened("country211", class_names("country211", published_spellings("country211")))
    with pytest.raises(RequestError, match=r"not known for country211: it is for tiny-imagenet"):
        with_prompts(images, "country211", "authors_code")


@pytest.mark.parametrize(
    ("kind", "n", "one"),
    [
        ("imagenet", 80, "itap of a {}."),
        ("imagenet-sketch", 80, "a origami {}."),
        ("tiny-imagenet", 80, "a photo of the cool {}."),
        ("cifar10", 18, "a photo of the big {}."),
        ("caltech101", 34, "the plushie {}."),
        ("caltech256", 34, "the plushie {}."),
        ("dtd", 8, "a photo of a {} texture."),
        ("stanford-cars", 8, "i love my {}!"),
        ("country211", 5, "a photo i took in {}."),
        ("eurosat", 3, "a centered satellite photo of the {}."),
        ("pcam", 1, "this is a photo of {}"),
    ],
)
def test_clips_ensembles(kind: str, n: int, one: str) -> None:
    found = templates("clip", kind)
    assert len(found) == len(set(found)) == n
    assert one in found


@pytest.mark.parametrize("kind", list(published_sets()))
def test_every_template_has_one_place_for_the_name(kind: str) -> None:
    assert templates("clip", kind)
    for template in (*templates("clip", kind), *templates("paper", kind)):
        assert template.count("{}") == 1
        assert template.format("x").count("{") == 0


def test_plain_leaves_templates_to_the_model() -> None:
    images = opened("dtd", class_names("dtd", published_spellings("dtd")))
    assert with_prompts(images, "dtd", "plain") == images


def test_what_is_asked_for_replaces_the_sets_own_templates():
    images = with_prompts(
        opened("dtd", class_names("dtd", published_spellings("dtd"))), "dtd", "clip"
    )
    assert prompts_of(images) == images.templates != ()
    assert prompts_of(images, ["a {}", "the {}"]) == ("a {}", "the {}")
    assert prompts_of(images, ["single"]) == ("This is a photo of a {}",)
    ensemble = prompts_of(images, ["ensemble"])
    assert len(set(ensemble)) == 80
    assert {"a photo of the hard to see {}.", "itap of my {}."} <= set(ensemble)
    assert all(text.count("{}") == 1 for text in ensemble)
    plain = with_prompts(images, "dtd", "plain")
    assert prompts_of(plain) is None
    assert expand_templates(["single {}"]) == ("single {}",)
