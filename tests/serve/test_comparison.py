import json

import pytest
import torch
from PIL import Image

from zsrobust.serve.attack import Settings
from zsrobust.serve.card import magnified
from zsrobust.serve.comparison import clean_predictions, compare, predict
from zsrobust.serve.handlers import write_files
from zsrobust.serve.limits import Limits
from zsrobust.serve.picture import read_picture
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow


@pytest.fixture
def compared(served, bishop, saved):
    def run(**options):
        picture = read_picture(saved(bishop.image), Limits())
        settings = Settings(**({"eps": Eps("4/255"), "steps": 10} | options))
        return compare(picture, bishop.class_names, settings, served, lambda *_: None)

    return run


def test_every_model_is_attacked_and_sees_what_was_made_on_the_others(compared, served, bishop):
    found = compared()
    names = [one.name for one in served]
    assert [one.model for one in found.attacked] == names
    assert found.clean["glyph-clip"].top == "chess bishop"
    for one in found.attacked:
        assert one.label == found.clean[one.model].top
        assert list(one.predictions) == list(one.predictions_8bit) == names
        assert 0 < one.distance <= 4 / 255 + 1e-6
        # A radius of whole levels around an image of whole levels is kept by rounding.
        assert one.distance_8bit <= 4 / 255 + 1e-6
        for model in served:
            classifier = model.classifier(bishop.class_names)
            with torch.no_grad():
                expected = classifier(one.adversarial[None]).softmax(-1)[0]
            for name, probability in zip(bishop.class_names, expected.tolist(), strict=True):
                assert one.predictions[model.name].probabilities[name] == pytest.approx(probability)
    assert found.attacked[0].predictions["glyph-clip"].top != "chess bishop"


def test_a_target_is_what_both_are_led_to(compared, bishop):
    target = bishop.class_names.index("chess rook")
    found = compared(target=target, eps=Eps("8/255"))
    assert {one.label for one in found.attacked} == {"chess rook"}
    assert found.attacked[0].predictions["glyph-clip"].top == "chess rook"
    assert found.figures()["attack"]["target"] == "chess rook"


def test_the_numbers_say_which_names_are_one_to_a_model(served, bishop, saved):
    picture = read_picture(saved(bishop.image), Limits())
    names = ("elephant", "chess bishop", "locomotive")
    settings = Settings(eps=Eps("4/255"), steps=1)
    found = compare(picture, names, settings, served, lambda *_: None).figures()
    assert found["indistinguishable"] == {
        "glyph-clip": [("elephant", "locomotive")],
        served[1].name: [],
    }
    assert set(found["clean"]["glyph-clip"]) == set(names)


def test_words_are_probabilities_likeliest_first(served, bishop):
    found = predict(served[1].classifier(bishop.class_names), torch.rand(1, 3, 32, 32))
    values = list(found.probabilities.values())
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-5)
    assert set(found.probabilities) == set(bishop.class_names)


def test_the_files_match_the_page(compared, served, bishop, tmp_path):
    found = compared()
    *paths, numbers = write_files(found, tmp_path)
    images, changes = paths[::2], paths[1::2]
    for one, path in zip(found.attacked, images, strict=True):
        # Dropped in again, the file is what was said of it.
        again = clean_predictions(read_picture(path, Limits()), bishop.class_names, served)
        assert again[one.model].probabilities == pytest.approx(
            one.predictions_8bit[one.model].probabilities, abs=1e-5
        )
    for path in changes:
        assert Image.open(path).size == bishop.image.size
    told = json.loads(numbers.read_text())
    assert told["threat_model"] == {"norm": "linf", "eps": 4 / 255, "bounds": [0.0, 1.0]}
    assert told["attack"]["name"] == "pgd-10"
    assert told["attack"]["step_size"] == pytest.approx(1 / 255)
    assert [one["name"] for one in told["models"]] == [one["model"] for one in told["attacks"]]
    for one in told["attacks"]:
        assert one["resolution"] == 32
        assert set(one["predictions"]["glyph-clip"]) == set(bishop.class_names)


def test_the_change_is_magnified_to_the_whole_range(compared):
    found = compared(eps=Eps("2/255"), steps=3)
    one = found.attacked[0]
    shown = magnified(one.clean, one.adversarial, 2 / 255)
    change = one.adversarial - one.clean
    assert shown.min() >= -1e-4
    assert shown.max() <= 1 + 1e-4
    torch.testing.assert_close((shown - 0.5) * 2 * (2 / 255), change, rtol=0, atol=1e-6)
    assert (magnified(one.clean, one.adversarial, 0) == 0.5).all()
