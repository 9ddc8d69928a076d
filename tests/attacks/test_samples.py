"""What no attack takes is refused by all alike, before any image is moved."""

import pytest
import torch
from torch import nn

from zsrobust.attacks import PGD, ThreatModel, Transfer, make_attack, pgd
from zsrobust.attacks.registry import EXAMPLES
from zsrobust.data.batch import Batch
from zsrobust.objectives import FARE, StepContext, TeCoA
from zsrobust.utils.errors import Diverged, RequestError

MEAN, STD = torch.tensor([0.48, 0.46, 0.41]), torch.tensor([0.27, 0.26, 0.28])


def normalised(images):
    return (images - MEAN[:, None, None]) / STD[:, None, None]


def with_a(value, images):
    images = images.clone()
    images[1, 2, 3, 3] = value
    return images


BAD_IMAGES = {
    "normalised": (normalised, "outside the pixel range"),
    "0..255": (lambda x: (255 * x).round(), "outside the pixel range"),
    "a resize's overshoot": (lambda x: with_a(1.001, x), "outside the pixel range"),
    "infinite": (lambda x: with_a(float("inf"), x), "outside the pixel range"),
    "uint8": (lambda x: (255 * x).byte(), "torch.uint8"),
    "half": (lambda x: x.half(), "torch.float16"),
    "bfloat16": (lambda x: x.bfloat16(), "torch.bfloat16"),
    "double": (lambda x: x.double(), "torch.float64"),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), "(N, 3, H, W)"),
    "no batch": (lambda x: x[0], "(N, 3, H, W)"),
    "grey": (lambda x: x[:, :1], "(N, 3, H, W)"),
    "transparent": (lambda x: torch.cat([x, x[:, :1]], 1), "(N, 3, H, W)"),
    "numpy": (lambda x: x.numpy(), "torch.Tensor"),
    "another device": (lambda x: x.to("meta"), "device"),
}
BAD_LABELS = {
    "too large": (lambda y: y + 5, "labels is from"),
    "negative": (lambda y: y - 5, "labels is from -"),
    "float": (lambda y: y.float(), "torch.float32"),
    "int32": (lambda y: y.int(), "torch.int32"),
    "too few": (lambda y: y[:-1], "shape of labels"),
    "one-hot": (lambda y: torch.nn.functional.one_hot(y, 5), "shape of labels"),
    "a list": (lambda y: y.tolist(), "torch.Tensor"),
    "another device": (lambda y: y.to("meta"), "device of labels"),
}
BAD_IDS = {
    "too few": (lambda ids: ids[:-1], "number of sample_ids"),
    "too many": (lambda ids: [*ids, "one more"], "number of sample_ids"),
    "repeated": (lambda ids: [*ids[:-1], ids[0]], "'sample 0'] twice"),
    "numbers": (lambda ids: list(range(len(ids))), "sample_ids"),
}
BAD = [
    (place, change, word)
    for place, kinds in ((0, BAD_IMAGES), (1, BAD_LABELS), (2, BAD_IDS))
    for change, word in kinds.values()
]


@pytest.fixture
def every(of_classes, quick):
    """Every attack that has a name, and one on another model."""
    attacks = [quick(name, ThreatModel(eps=8 / 255)) for name in EXAMPLES]
    return [*attacks, Transfer(attacks[0], of_classes(5)[0], "other")]


def test_bad_samples_are_refused_by_all_with_one_message(of_classes, every):
    model, *samples = of_classes(5)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    for place, change, word in BAD:
        given = [change(part) if index == place else part for index, part in enumerate(samples)]
        said = set()
        for attack in every:
            with pytest.raises(RequestError) as refused:
                attack(model, *given)
            said.add(str(refused.value))
        assert len(said) == 1
        assert word in said.pop()
    assert not calls


def test_images_with_nan_are_refused(of_classes, every):
    model, images, labels, ids = of_classes(5)
    for attack in every:
        with pytest.raises(Diverged, match="images hold NaN"):
            attack(model, with_a(float("nan"), images), labels, ids)


def test_what_is_no_zero_shot_classifier_is_refused(of_classes, every):
    model, images, labels, ids = of_classes(5)
    for attack in every:
        with pytest.raises(RequestError, match="is Sequential: must be a ZeroShotClassifier"):
            attack(nn.Sequential(model), images, labels, ids)


def test_no_images_are_given_back(of_classes, every):
    model, images, labels, _ = of_classes(5)
    for attack in every:
        assert attack(model, images[:0], labels[:0], []).shape == (0, 3, 6, 6)


def test_what_only_rounding_took_out_of_the_range_is_taken(of_classes, quick):
    model, images, labels, ids = of_classes(5, n=2)
    # Black and white, normalised and brought back, may come out next to where they were.
    images = images.round()
    back = images + 2e-7 * (images - 0.5).sign()
    assert back.max() > 1
    assert back.min() < 0
    for name in ("pgd-10", "apgd-ce", "square", "noise-10"):
        found = quick(name, ThreatModel(eps=8 / 255))(model, back, labels, ids)
        assert (found - images).abs().max() <= 8 / 255 + 1e-6


def test_another_pixel_range_is_another_range_of_images(of_classes):
    model, images, labels, ids = of_classes(5)
    attack = PGD(ThreatModel(eps=8, bounds=(0, 255)), steps=2)
    found = attack(model, 255 * images, labels, ids)
    assert 1 < (found - 255 * images).abs().max() <= 8 + 1e-4
    with pytest.raises(RequestError, match=r"outside the pixel range \[0, 255\]"):
        attack(model, 255 * images - 10, labels, ids)


@pytest.mark.parametrize("objective", [TeCoA(), FARE()])
def test_objectives_and_the_loop_itself_refuse_such_images(classifier, samples, objective):
    model, (images, labels, ids) = classifier(), samples()
    attack = PGD(ThreatModel(eps=8 / 255), steps=2)
    teacher = {"clean": torch.zeros(8, 6)}
    for batch, word in [
        (Batch(normalised(images), labels, ids), "outside the pixel range"),
        (Batch(images, labels, ids[1:]), "number of sample_ids"),
    ]:
        with pytest.raises(RequestError, match=word):
            objective.adversarial(StepContext(model, batch, attack, teacher=teacher))
    with pytest.raises(RequestError, match="outside the pixel range"):
        pgd(lambda x: x.sum((1, 2, 3)), 255 * images, attack.threat, steps=1, step_size=8 / 255)


@pytest.mark.parametrize(
    ("norm", "eps", "word"),
    [
        ("linf", 8, "eps is 8: must be below 1"),
        ("linf", 1, "eps is 1: must be below 1"),
        ("linf", "2.0", "eps is 2: must be below 1"),
        ("l2", "1/0", "eps '1/0' is not a number"),
        ("linf", "eight", "eps 'eight' is not a number"),
        ("linf", None, "eps None is not a number"),
        ("l2", float("nan"), "eps nan must be 0 or more"),
        ("l2", float("inf"), "eps inf must be 0 or more"),
    ],
)
def test_a_radius_is_read_and_refused_as_the_command_does(norm, eps, word):
    with pytest.raises(RequestError) as refused:
        ThreatModel(norm, eps)
    assert word in str(refused.value)


def test_lengths_may_be_written_as_fractions():
    assert ThreatModel("linf", "8/255") == ThreatModel("linf", 8 / 255)
    assert ThreatModel("l2", 8).eps == 8
    threat = ThreatModel("linf", "8/255")
    assert PGD(threat, step_size="2/255") == PGD(threat, step_size=2 / 255)
    assert make_attack("cw-3", threat, step_size="2/255").step_size == 2 / 255
    for bounds in ((1, 0), (0, 0), 1, (0, float("nan")), (0, 1, 2)):
        with pytest.raises(RequestError, match="bounds is"):
            ThreatModel(bounds=bounds)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"step_size": 1}, "attack.step_size is 1: must be below 1, the whole pixel range"),
        ({"step_size": "8"}, "attack.step_size is 8: must be below 1"),
        ({"step_size": float("nan")}, "attack.step_size nan must be 0 or more"),
        ({"step_size": "1/0"}, "attack.step_size '1/0' is not a number"),
        ({"logit_scale": -1.0}, "attack.logit_scale is -1.0: must be above 0"),
        ({"steps": "10"}, "attack.steps is '10': must be int"),
        ({"random_start": "false"}, "attack.random_start is 'false': must be true or false"),
    ],
)
def test_options_of_pgd_are_checked_as_the_command_checks_them(options, word):
    with pytest.raises(RequestError) as refused:
        PGD(ThreatModel(), **options)
    assert word in str(refused.value)
    if options == {"step_size": 1}:
        assert PGD(ThreatModel("l2", 2), **options).step_size == 1
