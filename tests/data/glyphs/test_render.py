import numpy as np
import pytest
import torch

from zsrobust.data.glyphs import fonts, render
from zsrobust.data.glyphs.draws import stream
from zsrobust.data.glyphs.masks import SIDE, bank, draw_shape
from zsrobust.data.glyphs.palette import COLOURS, CONTRASTING, STYLES
from zsrobust.data.glyphs.scenes import Recipe, draw_scenes
from zsrobust.utils.errors import RequestError

EVERYTHING = Recipe(tuple(range(400)), fonts.SEEN, STYLES, small=0.5, most=6)


def images(indices: np.ndarray) -> np.ndarray:
    scenes = draw_scenes(EVERYTHING, stream("test"), indices)
    return render.render(scenes, fonts.SEEN, indices)


def test_an_image_is_the_same_alone_and_among_others() -> None:
    together = images(np.arange(64))
    assert together.shape == (64, 32, 32, 3)
    for index in (0, 17, 63):
        assert np.array_equal(images(np.array([index]))[0], together[index])


def test_images_differ() -> None:
    together = images(np.arange(200)).reshape(200, -1)
    assert len(np.unique(together, axis=0)) == 200


def placed(mask: torch.Tensor, reach: float, x: float, y: float) -> np.ndarray:
    level = torch.full((1, 3), 0.5)  # no turn, no stretch
    done = render._placed(mask[None, None], torch.tensor([reach]), torch.tensor([[x, y]]), level)
    return done[0, 0].numpy()


def test_a_mask_in_full_size_stays_as_it_is() -> None:
    mask = torch.rand(SIDE, SIDE)
    assert np.allclose(placed(mask, 1.0, 0.0, 0.0), mask, atol=1e-5)


def test_right_is_right_and_down_is_down() -> None:
    mask = torch.ones(SIDE, SIDE)
    ink = placed(mask, 0.25, 0.5, -0.5)  # a quarter of the image's side, at the right and the top
    rows, columns = np.nonzero(ink > 0.5)
    assert (rows.min(), rows.max()) == (4, 11)
    assert (columns.min(), columns.max()) == (20, 27)


def test_a_turn_is_small_and_keeps_the_ink() -> None:
    mask = torch.zeros(SIDE, SIDE)
    mask[8:24, 14:18] = 1
    level = torch.tensor([[1.0, 0.5, 0.5]])
    turned = render._placed(mask[None, None], torch.tensor([1.0]), torch.zeros(1, 2), level)[0, 0]
    assert turned.sum().item() == pytest.approx(mask.sum().item(), rel=0.03)
    y, x = np.indices((SIDE, SIDE)) - 15.5
    weight = turned.numpy()
    slope = (weight * x * y).sum() / (weight * y * y).sum()
    assert abs(np.degrees(np.arctan(slope))) == pytest.approx(12, abs=1)


def test_things_are_seen_on_their_ground() -> None:
    values = np.array(list(COLOURS.values()), dtype=float)
    for colour, grounds in enumerate(CONTRASTING):
        assert len(grounds) >= 3
        for ground in grounds:
            assert np.sqrt(((values[colour] - values[ground]) ** 2).mean()) >= 75


def test_a_glyph_fills_its_mask_in_proportion() -> None:
    masks = bank(("DejaVuSans",))
    letter = masks.masks[masks.first[8]]  # capital I, tall and narrow
    rows, columns = np.nonzero(letter > 127)
    assert rows.max() - rows.min() + 1 == SIDE
    assert columns.max() - columns.min() + 1 < SIDE / 2


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("circle", np.pi / 4),
        ("ring", np.pi / 4 * (1 - 0.25)),
        ("square", 0.84**2),
        ("rectangle", 0.5),
        ("triangle", 0.45),
        ("rhombus", 0.35),
        ("oval", np.pi / 4 * 0.56),
        ("hexagon", 3 * np.sqrt(3) / 8),
    ],
)
def test_shapes_have_their_area(name: str, share: float) -> None:
    assert draw_shape(name, 64).mean() / 255 == pytest.approx(share, abs=0.012)


def test_an_absent_font_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(fonts, "folder", lambda: tmp_path)
    with pytest.raises(RequestError, match=r"Nowhere\.ttf.*install matplotlib again"):
        fonts.font("Nowhere", 12)


def test_a_damaged_font_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "Broken.ttf").write_bytes(b"not a font")
    monkeypatch.setattr(fonts, "folder", lambda: tmp_path)
    with pytest.raises(RequestError, match=r"Broken\.ttf.*missing or damaged"):
        fonts.characters("Broken")
