"""What all test-time defences share, and the baselines and CLIPure against their definitions."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.models.defences.base import DefendedClassifier
from zsrobust.models.defences.clipure import Clipure
from zsrobust.models.defences.crop_voting import CropVoting
from zsrobust.models.defences.dbd import Dbd
from zsrobust.models.defences.jpeg import Jpeg
from zsrobust.models.defences.noise_averaging import NoiseAveraging
from zsrobust.models.defences.rtpt import Rtpt
from zsrobust.models.defences.scc import Scc
from zsrobust.models.defences.ttc import Counterattack
from zsrobust.models.loading import load
from zsrobust.models.names import DEFENCES, check_name
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError


class Text:
    """A text tower of one layer, whose tokens are letters; its vectors lie apart."""

    fingerprint = ""
    random = torch.Generator().manual_seed(0)
    token_embedding = nn.Embedding.from_pretrained(torch.randn(128, 8, generator=random))
    places = torch.randn(16, 8, 6, generator=random)

    def tokenize(self, prompts):
        return torch.tensor([[1, *map(ord, f"{prompt:\0<15}")] for prompt in prompts])

    def encode_vectors(self, tokens, vectors):
        return F.normalize(torch.einsum("plw,lwd->pd", vectors.tanh(), self.places), dim=-1)

    @torch.no_grad()
    def encode(self, class_names, templates):
        prompts = [t.replace("{}", name) for name in class_names for t in templates]
        tokens = self.tokenize(prompts)
        found = self.encode_vectors(tokens, self.token_embedding(tokens))
        found = found.view(len(class_names), len(templates), -1).mean(1)
        return F.normalize(found, dim=-1)


TEMPLATES = ("a {}", "the {}")


class Model:
    text = Text()


@pytest.fixture(scope="module")
def classifier():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(8 * 49, 6)
        )
    encoder.requires_grad_(False)
    names = ["bird", "lamp", "tree", "zoo"]
    vectors = Text().encode(names, TEMPLATES)
    return ZeroShotClassifier.from_parts(encoder, vectors, names, templates=TEMPLATES)


@pytest.fixture(scope="module")
def images():
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def defended(classifier, defence):
    return DefendedClassifier(classifier, defence, Model())


# An odd number of steps: see test_an_even_number_of_clipures_long_steps_does_nothing.
ALL = [
    Clipure(steps=3),
    Counterattack(tau=9.0),
    CropVoting(),
    Dbd(),
    Jpeg(),
    NoiseAveraging(),
    Rtpt(crops=15, neighbours=5, steps=2),
    Scc(tau=9.0),
]
RANDOMISED = [defence for defence in ALL if defence.randomised]


def test_every_defence_is_in_the_list():
    assert sorted(defence.word for defence in ALL) == sorted(DEFENCES)


@pytest.mark.parametrize("defence", ALL, ids=lambda one: one.word)
def test_an_answer_depends_on_the_image_alone(defence, classifier, images):
    behind = defended(classifier, defence)
    together, moved = behind(images), behind(images.flip(0)).flip(0)
    alone = torch.cat([behind(image[None]) for image in images])
    torch.testing.assert_close(moved, together, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-5)
    assert not torch.allclose(together, classifier(images), atol=1e-3)


@pytest.mark.parametrize("defence", ALL, ids=lambda one: one.word)
def test_an_attack_goes_through_it(defence, classifier, images):
    behind = defended(classifier, defence)
    labels = behind(images).argmax(-1)
    loss = lambda given: F.cross_entropy(behind(given), labels).item()  # noqa: E731
    attack = PGD(steps=10, threat=ThreatModel(eps=8 / 255), step_size=2 / 255)
    assert loss(attack(behind, images, labels, [str(i) for i in range(5)])) > loss(images)


@pytest.mark.parametrize("defence", ALL, ids=lambda one: one.word)
def test_the_passes_said_are_those_made(defence, classifier, images):
    """Counted at the encoder, where a gradient takes a further pass back."""
    passes = {"forward": 0, "backward": 0}

    def count(module, given, found):
        passes["forward"] += len(found)
        if found.requires_grad:
            found.register_hook(lambda gradient: passes.update(backward=passes["backward"] + 5))

    handle = classifier.encoder.register_forward_hook(count)
    with torch.no_grad():
        defended(classifier, defence)(images)
    handle.remove()
    assert passes == {"forward": 5 * defence.views, "backward": 5 * defence.backward_views}


@pytest.mark.parametrize("defence", ALL, ids=lambda one: one.word)
def test_redrawing_changes_the_random_numbers_alone(defence, classifier, images):
    behind = defended(classifier, defence).eval()
    again = [behind.redrawn(key) for key in (0, 1, 0)]
    answers = [one(images) for one in (behind, *again)]
    torch.testing.assert_close(answers[3], answers[1], atol=0, rtol=0)
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        apart = (answers[a] - answers[b]).abs().amax(1)
        assert ((apart > 1e-3) == defence.randomised).all()
    assert {**again[0].defence.options, "seed": 0} == {**defence.options, "seed": 0}
    assert not again[0].training
    other = replace(defence, seed=1).redrawn(0) if defence.randomised else None
    assert other is None or other.seed not in (0, 1, again[0].defence.seed)


def test_a_defences_own_logits_are_those_that_attacks_see(classifier, images):
    """At another scale too, and each pass is counted once."""

    class Doubled(Jpeg):
        def logits(self, undefended, images, model):
            return 2 * super().logits(undefended, images, model)

    behind, usual = (defended(classifier, one) for one in (Doubled(), Jpeg()))
    torch.testing.assert_close(behind(images), 2 * usual(images))
    torch.testing.assert_close(behind(images, 7.0), 2 * usual(images, 7.0))
    torch.testing.assert_close(usual(images, 7.0), 0.07 * usual(images), atol=1e-4, rtol=1e-4)
    seen = []
    with behind.observed(lambda samples, passes: seen.append((samples, passes))):
        behind(images)
        behind(images.clone().requires_grad_(True))
    assert seen == [(5, 1), (5, 2)]


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_noise_averaging_is_the_mean_over_its_draws(eps, classifier, images):
    """Its distance from the expectation shrinks as draws grow; without noise there is none."""
    answer = F.normalize(classifier.embed(images).float(), dim=-1)
    few, many = (
        defended(classifier, NoiseAveraging(eps=eps, draws=draws)).embed(images)
        for draws in (4, 400)
    )
    if eps == 0:
        torch.testing.assert_close(few, answer)
        return
    generator = torch.Generator().manual_seed(5)
    noise = 2 * torch.rand(4000, *images.shape, generator=generator) - 1
    expected = torch.stack(
        [
            F.normalize(classifier.embed((images + eps * one).clamp(0, 1)).float(), dim=-1)
            for one in noise
        ]
    ).mean(0)
    assert (many - expected).norm() < 0.3 * (few - expected).norm()


def test_a_whole_crop_is_the_image(classifier, images):
    found = defended(classifier, CropVoting(crops=3, smallest=1.0)).embed(images)
    expected = F.normalize(classifier.embed(images).float(), dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_crops_lie_within_the_image_and_have_the_sides_asked_for():
    """Of an image that holds its own coordinates, a crop's corners are read off."""
    at = (torch.arange(64) + 0.5) / 64
    ramp = torch.stack([at.expand(64, 64), at[:, None].expand(64, 64), torch.zeros(64, 64)])
    noisy = ramp + 1e-4 * torch.rand(400, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    crops = CropVoting(smallest=0.5).cropped(noisy, 0)
    # From the first pixel's centre to the last's are 63 of the 64 pixels of a side.
    sides = (crops[:, 0, 0, -1] - crops[:, 0, 0, 0]) * 64 / 63
    downwards = (crops[:, 1, -1, 0] - crops[:, 1, 0, 0]) * 64 / 63
    torch.testing.assert_close(sides, downwards, atol=2e-2, rtol=0)
    assert sides.min() > 0.48
    assert sides.max() < 1.01
    assert sides.mean() == pytest.approx(0.75, abs=0.03)
    left = crops[:, 0, 0, 0] - sides / 128
    room = 1 - sides
    share = (left / room)[room > 0.1]
    assert share.mean() == pytest.approx(0.5, abs=0.06)
    assert share.min() > -0.1
    assert share.max() < 1.1


@pytest.mark.parametrize("quality", [10, 75])
def test_jpeg_is_that_of_pillow_and_its_gradient_passes_straight_through(
    quality, classifier, images
):
    def decoded(image):
        buffer = io.BytesIO()
        pixels = np.rint(image.numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
        return np.asarray(Image.open(buffer)).transpose(2, 0, 1) / 255

    compressed = torch.from_numpy(np.stack([decoded(one) for one in images])).float()
    behind = defended(classifier, Jpeg(quality=quality))
    torch.testing.assert_close(behind(images), classifier(compressed), atol=1e-3, rtol=1e-4)

    def gradient(of, at):
        at = at.clone().requires_grad_(True)
        return torch.autograd.grad(of(at).logsumexp(-1).sum(), at)[0]

    expected = gradient(classifier, compressed)
    torch.testing.assert_close(gradient(behind, images), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("length", [0.3, 30.0])
def test_clipure_equals_the_steps_written_out_in_float64(length):
    """By autograd of the cosine at the embedding itself, one image at a time."""
    generator = torch.Generator().manual_seed(3)
    raw = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    target = torch.randn(6, generator=generator, dtype=torch.float64)

    def written_out(embedding):
        embedding = embedding / embedding.norm()
        for _ in range(10):
            embedding = embedding.detach().requires_grad_(True)
            radius = embedding.norm()
            F.cosine_similarity(embedding, target, dim=0).backward()
            ascent = radius * embedding.grad
            u = embedding / radius + length * ascent / ascent.norm()
            embedding = radius * u / u.norm()
        return embedding.detach()

    found = Clipure(length=length).purified(F.normalize(raw, dim=-1), F.normalize(target, dim=-1))
    expected = torch.stack([written_out(one) for one in raw])
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-7)


def test_clipures_gradient_is_exact_or_takes_directions_for_constants():
    generator = torch.Generator().manual_seed(4)
    unit = F.normalize(torch.randn(1, 6, generator=generator, dtype=torch.float64), dim=-1)
    target = F.normalize(torch.randn(6, generator=generator, dtype=torch.float64), dim=-1)
    probe = torch.randn(6, generator=generator, dtype=torch.float64)

    def gradient(defence):
        at = unit.clone().requires_grad_(True)
        return torch.autograd.grad((defence.purified(at, target) @ probe).sum(), at)[0][0]

    exact = Clipure(steps=2, length=0.5)
    step = 1e-6
    differences = [
        (
            (exact.purified(unit + step * e, target) - exact.purified(unit - step * e, target))
            @ probe
        ).item()
        / (2 * step)
        for e in torch.eye(6, dtype=torch.float64)
    ]
    torch.testing.assert_close(
        gradient(exact), torch.tensor(differences, dtype=torch.float64), atol=1e-7, rtol=1e-6
    )
    held = gradient(Clipure(steps=2, length=0.5, through=0))
    assert not torch.allclose(held, gradient(exact), rtol=1e-2)


@pytest.mark.parametrize("steps", [2, 10])
def test_an_even_number_of_clipures_long_steps_does_nothing(steps):
    """A step turns by arctan(30), 88 degrees: past the target, and the next one turns back."""
    generator = torch.Generator().manual_seed(6)
    target = F.normalize(torch.randn(6, generator=generator, dtype=torch.float64), dim=-1)
    unit = F.normalize(torch.randn(200, 6, generator=generator, dtype=torch.float64), dim=-1)
    nearer = torch.arccos(unit @ target) < math.atan(30)
    found = Clipure(steps=steps).purified(unit, target)
    assert nearer.any()
    torch.testing.assert_close(found[nearer], unit[nearer], atol=1e-9, rtol=0)
    assert ((found - unit).norm(dim=-1) > 1)[~nearer].all()


def test_clipure_aims_at_the_templates_without_a_name(classifier, images):
    target = Text().encode([""], TEMPLATES)[0]
    before = F.normalize(classifier.embed(images).float(), dim=-1)
    after = defended(classifier, Clipure(steps=1, length=0.1)).embed(images)
    assert ((after @ target) > (before @ target)).all()
    angle = torch.arccos((after * before).sum(-1))
    torch.testing.assert_close(angle, torch.full((5,), math.atan(0.1)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("word", DEFENCES)
def test_a_name_is_loaded_and_defended_once(word, small_clip):
    name = f"{word}({small_clip})"
    check_name(name)
    model = load(name)
    assert model.name == name
    assert model.method == f"{word}(original)"
    about = model.classifier(["cat", "dog"]).further_settings()["defence"]
    assert about["name"] == word
    assert about["forward_passes"] == model.defence.defence.views
    with pytest.raises(RequestError, match="has a test-time defence"):
        load(f"jpeg({name})")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jpeg({}, quality=96)", "quality"),
        ("jpeg({}, quality=good)", "whole number"),
        ("jpeg({}, level=3)", "no option 'level'"),
        ("noise_averaging({}, draws=0)", "draws"),
        ("noise_averaging({}, eps=2)", "eps"),
        ("crop_voting({}, seed=-1)", "crop_voting seed is -1: must be 0 or more"),
        ("crop_voting({}, smallest=0)", "smallest"),
        ("clipure({}, length=0)", "length"),
        ("clipure({}, through=2)", "through"),
        ("dbd({}, kept=32)", "dbd kept is 32: must be from 1 to 31"),
        ("dbd({}, threshold=2)", "dbd threshold is 2.0: must be from -1 to 1"),
        ("dbd({}, strength=nan)", "dbd strength is nan: must be 0 or more"),
        ("rtpt({}, crops=9)", "rtpt neighbours is 20: must be from 1 to crops, 9"),
        ("rtpt({}, kept=0)", "rtpt kept is 0.0: must be above 0, up to 1"),
        ("rtpt({}, rate=0)", "rtpt rate is 0.0: must be above 0 and finite"),
        ("scc({}, temperature=2)", "scc temperature is 2.0: must be above 0, up to 1"),
        ("scc({}, eps=1)", "scc eps is 1: must be below 1"),
        ("scc({}, augmented=0)", "scc augmented is 0: must be 1 or more"),
        ("jpg({})", "jpeg"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(name, message, small_clip):
    with pytest.raises(RequestError, match=message):
        load(name.format(small_clip))


def test_options_are_in_the_method_and_the_name_of_results(small_clip):
    model = load(f"noise_averaging({small_clip}, draws=2, eps=4/255)")
    assert model.method == "noise_averaging(original, eps=4/255, draws=2)"
