import numpy as np
import pytest
import torch
from scipy import ndimage

from zsrobust.data.glyphs import fonts, render
from zsrobust.data.glyphs.captions import NUMBERS, POSITIONS
from zsrobust.data.glyphs.concepts import concepts
from zsrobust.data.glyphs.draws import stream
from zsrobust.data.glyphs.masks import bank
from zsrobust.data.glyphs.palette import COLOURS, SEEN_STYLES, UNSEEN_STYLES
from zsrobust.data.glyphs.scenes import Recipe, draw_scenes
from zsrobust.data.glyphs.sets import (
    SETS,
    TRAINING,
    ZERO_SHOT,
    glyph_set,
    images_at,
    shown_in_pretraining,
)
from zsrobust.data.registry import open_set
from zsrobust.data.suites import GLYPH_SETS, expand
from zsrobust.utils.errors import RequestError

NAMES = [concept.name for concept in concepts()]


@pytest.mark.parametrize("name", SETS)
def test_labels_are_balanced_and_images_are_those_of_their_indices(name: str) -> None:
    opened = glyph_set(name, "test")
    classes = len(opened.class_names)
    assert len(set(opened.class_names)) == classes >= 6
    counts = np.bincount(opened.labels, minlength=classes)
    assert counts.max() - counts.min() <= 1
    together = images_at(name, "test", np.arange(950, 1000))
    for index in (950, 977, 999):
        alone = images_at(name, "test", np.array([index]))[0]
        assert np.array_equal(alone, together[index - 950])


def test_a_set_reads_the_images_it_renders() -> None:
    opened = glyph_set("chess", "test")
    for index in (0, 777, 999):
        expected = images_at("chess", "test", np.array([index]))[0]
        assert np.array_equal(np.asarray(opened.read_rgb(index)), expected)


def test_at_least_fifteen_sets_share_no_class_with_the_fine_tuning_set() -> None:
    assert len(GLYPH_SETS) >= 15
    training = set(SETS[TRAINING]().class_names)
    for make in ZERO_SHOT.values():
        assert training.isdisjoint(make().class_names)


def test_the_suite_names_every_set_and_handwriting() -> None:
    assert set(ZERO_SHOT) == {*GLYPH_SETS, "colours", "grounds"}
    assert set(GLYPH_SETS).isdisjoint(("colours", "grounds"))
    opened = [open_set(spec, "test") for spec in expand(["glyphs"])]
    assert [images.name for images in opened] == [*GLYPH_SETS, "digits"]
    assert len({images.origin for images in opened}) == len(opened)


def test_the_fine_tuning_set_opens_by_name() -> None:
    opened = open_set("glyph:training", "train")
    assert (opened.name, opened.split, len(opened)) == ("glyphs-training", "train", 20_000)


@pytest.mark.parametrize("spec", ["glyph", "glyph:", "glyph:runes"])
def test_an_unknown_set_is_refused_with_those_there_are(spec: str) -> None:
    with pytest.raises(RequestError, match="write glyph:SET"):
        open_set(spec, "test")


def test_splits_are_different_images() -> None:
    a = images_at("dice", "train", np.arange(300)).reshape(300, -1)
    b = images_at("dice", "test", np.arange(300)).reshape(300, -1)
    assert len(np.unique(np.concatenate([a, b]), axis=0)) == 600


def test_unseen_fonts_and_styles_are_unseen() -> None:
    assert set(SETS["unseen-fonts"]().recipe.fonts).isdisjoint(fonts.SEEN)
    assert set(SETS["unseen-styles"]().recipe.styles) == set(UNSEEN_STYLES)
    for name, make in SETS.items():
        if not name.startswith("unseen"):
            assert set(make().recipe.styles) <= set(SEEN_STYLES), name


def test_coloured_shapes_are_pairs_that_pretraining_never_shows() -> None:
    shapes = [i for i, concept in enumerate(concepts()) if concept.kind == "shape"]
    recipe = Recipe(tuple(shapes), fonts.SEEN, SEEN_STYLES, allowed=shown_in_pretraining)
    scenes = draw_scenes(recipe, stream("pretraining"), np.arange(20_000))
    shown = {
        f"{list(COLOURS)[colour]} {NAMES[concept]}"
        for concept, colour in zip(scenes.concept, scenes.colour, strict=True)
    }
    kept_back = set(SETS["coloured-shapes"]().class_names)
    assert shown.isdisjoint(kept_back)
    assert len(shown) + len(kept_back) == len(shapes) * len(COLOURS)


def nearest_colour(pixels: np.ndarray) -> np.ndarray:
    values = np.array(list(COLOURS.values()), dtype=float)
    return ((pixels[:, None] - values[None]) ** 2).sum(-1).argmin(1)


def test_the_ground_has_the_colour_of_its_label() -> None:
    images = images_at("grounds", "test", np.arange(600)).astype(float)
    # On plain paper most pixels of a scene are ground, and its median is the ground's colour.
    medians = np.median(images.reshape(600, -1, 3), axis=1)
    right = nearest_colour(medians) == np.arange(600) % len(COLOURS)
    assert right.mean() > 0.8


def test_small_things_lie_where_their_label_says() -> None:
    labels = np.arange(900) % len(POSITIONS)
    images = images_at("positions", "test", np.arange(900)).astype(float)
    ground = np.median(images.reshape(900, -1, 3), axis=1)[:, None, None]
    far = np.abs(images - ground).max(-1) > 60
    weight = far.sum((1, 2))
    rows, columns = np.indices((32, 32))
    seen = weight > 0
    x = (far * columns).sum((1, 2))[seen] / weight[seen]
    y = (far * rows).sum((1, 2))[seen] / weight[seen]
    for label in range(len(POSITIONS)):
        which = labels[seen] == label
        assert np.median(x[which]) // 10.67 == label % 3
        assert np.median(y[which]) // 10.67 == label // 3


def test_as_many_things_are_drawn_as_the_label_says() -> None:
    glyphs = SETS["counts"]()
    labels = np.arange(120) % len(NUMBERS)
    scenes = draw_scenes(
        glyphs.recipe, stream("x"), np.arange(120), **glyphs.fix(labels, np.arange(120))
    )
    assert (scenes.count == labels + 1).all()
    assert not scenes.large.any()


def test_copies_can_be_counted_in_the_pixels() -> None:
    disc = NAMES.index("circle")
    recipe = Recipe((disc,), fonts.SEEN, ("solid",), small=1.0, most=6)
    scenes = draw_scenes(recipe, stream("y"), np.arange(200))
    masks = torch.from_numpy(bank(fonts.SEEN).masks)
    ink = render._ink(scenes, masks, torch.from_numpy(scenes.free))
    # Large neighbours touch now and then: their rims are taken off first.
    cores = [ndimage.binary_erosion(image[0].numpy() > 0.9, iterations=2) for image in ink]
    counted = np.array([ndimage.label(core)[1] for core in cores])
    assert (counted == scenes.count).mean() > 0.97


def test_every_thing_of_a_kind_is_shown_in_turn() -> None:
    glyphs = SETS["kinds"]()
    indices = np.arange(2000)
    labels = indices % len(glyphs.class_names)
    concept = glyphs.fix(labels, indices)["concept"]
    for label, kind in enumerate(glyphs.class_names):
        shown = {NAMES[i] for i in concept[labels == label]}
        assert shown == {concept.name for concept in concepts() if concept.kind == kind}
