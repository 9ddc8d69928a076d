import numpy as np
import pytest
from matplotlib.colors import to_rgb

from zsrobust.evaluation.gallery import Gallery, Item, Prediction, View
from zsrobust.reporting.figures.gallery import gallery_figure, magnification
from zsrobust.reporting.figures.style import save_figure

MODELS = {"clip": "original", "run": "pmg_aft[paper]"}


def gallery(eps=4 / 255, models=MODELS, datasets=("birds", "cars")):
    random = np.random.default_rng(0)
    items = []
    for dataset in datasets:
        clean = random.uniform(0.2, 0.8, (3, 4, 4)).astype(np.float32)
        views = [View("", clean, {m: Prediction("crow", 0.9, True) for m in models})]
        for model in models:
            moved = clean + eps * random.choice([-1, 1], clean.shape)
            said = {m: Prediction("a very long name of a bird", 0.4, False) for m in models}
            views.append(View(model, moved.astype(np.float32), said))
        items.append(Item(dataset, "1.png", "crow", views))
    return Gallery("pgd-10 4/255", dict(models), "All there are.", items)


def test_a_row_shows_the_image_and_for_each_model_the_attacked_one_and_its_change():
    shown = gallery()
    figure = gallery_figure(shown)
    pictures = [axes.images[0].get_array() for axes in figure.axes]
    assert len(pictures) == 2 * 5
    for index, item in enumerate(shown.items):
        clean, first, second = (view.pixels.transpose(1, 2, 0) for view in item.views)
        row = pictures[5 * index : 5 * index + 5]
        for found, wanted in zip(
            row,
            (clean, first, 0.5 + 16 * (first - clean), second, 0.5 + 16 * (second - clean)),
            strict=True,
        ):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_pictures_neither_overlap_nor_leave_the_page():
    figure = gallery_figure(gallery())
    boxes = [axes.get_position() for axes in figure.axes]
    for index, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        assert not any(box.overlaps(other) for other in boxes[:index])
    assert figure.get_facecolor()[:3] == to_rgb("white")


def test_captions_hold_predictions_and_methods():
    figure = gallery_figure(gallery())
    texts = [text.get_text() for text in figure.texts]
    assert "crow (birds)" in texts
    assert "original: ✓ crow 90%\nPMG-AFT: ✓ crow 90%" in texts
    # Long names are whole, on several lines.
    wrong = next(text for text in texts if "✗" in text)
    name = "a very long name of a bird"
    assert " ".join(wrong.split()) == f"original: ✗ {name} 40% PMG-AFT: ✗ {name} 40%"
    headings = [" ".join(text.split()) for text in texts]
    for name in ("original", "PMG-AFT"):
        assert any(name in text and text.endswith("times 16") for text in headings)
    assert any("pgd-10 4/255" in text and text.endswith("All there are.") for text in texts)


@pytest.mark.parametrize("dpi", [72, 200])
@pytest.mark.parametrize("presets", [("paper",), ("authors_code", "authors_first_revision")])
def test_no_text_runs_into_another_or_a_picture(presets, dpi):
    models = {"clip": "original"} | {f"m{i}": f"pmg_aft[{name}]" for i, name in enumerate(presets)}
    figure = gallery_figure(gallery(models=models))
    figure.set_dpi(dpi)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    boxes += [axes.get_window_extent() for axes in figure.axes]
    for index, box in enumerate(boxes):
        assert box.x1 <= figure.bbox.width
        assert not [other for other in boxes[:index] if box.overlaps(other)]


@pytest.mark.parametrize(
    ("eps", "factor"), [(1 / 255, 64), (4 / 255, 16), (8 / 255, 8), (0.6, 1), (0, 1)]
)
def test_the_change_is_magnified_as_far_as_colours_go(eps, factor):
    assert magnification(gallery(eps)) == factor


def test_one_model_and_one_set_need_less_room():
    figure = gallery_figure(gallery(models={"clip": "original"}, datasets=("birds",)))
    assert len(figure.axes) == 3
    assert figure.get_figwidth() < gallery_figure(gallery()).get_figwidth()
    assert "crow" in [text.get_text() for text in figure.texts]


def test_a_figure_is_saved_twice_with_equal_bytes(tmp_path):
    paths = save_figure(gallery_figure(gallery()), tmp_path / "gallery")
    assert [path.name for path in paths] == ["gallery.png", "gallery.svg"]
    first = [path.read_bytes() for path in paths]
    assert first[0].startswith(b"\x89PNG")
    assert b"<svg" in first[1]
    save_figure(gallery_figure(gallery()), tmp_path / "gallery")
    assert [path.read_bytes() for path in paths] == first
