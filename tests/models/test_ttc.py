import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.models.defences.base import DefendedClassifier
from zsrobust.models.defences.ttc import Counterattack
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint, save_model
from zsrobust.utils.errors import RequestError
from zsrobust.utils.noise import noise_of_keys, pixel_keys


class Linear:
    """S(x) = W x: the gradient of the squared distance is W^T W times twice the change."""

    def __init__(self, seed=0, dim=5, pixels=48):
        generator = torch.Generator().manual_seed(seed)
        self.matrix = torch.randn(dim, pixels, generator=generator)

    def __call__(self, images):
        return images.flatten(1) @ self.matrix.T

    def drift(self, image, start):
        w = self.matrix.double().numpy()
        return np.linalg.norm(w @ (start - image)) / np.linalg.norm(w @ image)

    def ascent(self, change):
        w = self.matrix.double().numpy()
        return np.sign(w.T @ (w @ change))


def written_out(settings, image, noise, embed, measure):
    """One image (pixels,) after the counterattack, in float64, as the method is described."""
    low, high = np.maximum(image - settings.eps, 0), np.minimum(image + settings.eps, 1)
    path = [np.clip(image + settings.eps * noise, low, high)]
    if measure.drift(image, path[0]) >= settings.tau:
        return path[0]
    for _ in range(settings.steps):
        step = settings.step_size * embed.ascent(path[-1] - image)
        path.append(np.clip(path[-1] + step, low, high))
    weights = [math.exp(settings.beta * j) for j in range(settings.steps + 1)]
    return sum(w * point for w, point in zip(weights, path, strict=True)) / sum(weights)


def images_and_noise(n=12, seed=1):
    generator = torch.Generator().manual_seed(seed)
    # Some pixels at the ends of the range, where the ball is cut.
    images = (1.4 * torch.rand(n, 3, 4, 4, generator=generator) - 0.2).clamp(0, 1)
    return images, 2 * torch.rand(n, 3, 4, 4, generator=generator) - 1


@pytest.mark.parametrize("measured_by", ["itself", "another"])
@pytest.mark.parametrize(
    "changes", [{}, {"steps": 4, "beta": 0.5}, {"beta": 0.0}, {"steps": 1, "step_size": 0.1}]
)
def test_equal_to_the_method_written_out(changes, measured_by):
    images, noise = images_and_noise()
    embed, other = Linear(0), Linear(1)
    measure = embed if measured_by == "itself" else other
    pixels = [image.flatten().double().numpy() for image in images]
    draws = [one.flatten().double().numpy() for one in noise]
    tried = Counterattack(**{"eps": 0.05, "step_size": 0.02, **changes})
    starts = [
        np.clip(x + 0.05 * d, np.maximum(x - 0.05, 0), np.minimum(x + 0.05, 1))
        for x, d in zip(pixels, draws, strict=True)
    ]
    drifts = [measure.drift(x, start) for x, start in zip(pixels, starts, strict=True)]
    tried = Counterattack(**{**vars(tried), "tau": float(np.median(drifts))})
    found = tried.moved(images, noise, embed, None if measured_by == "itself" else other)
    expected = [
        written_out(tried, x, d, embed, measure) for x, d in zip(pixels, draws, strict=True)
    ]
    assert np.allclose(found.flatten(1).numpy(), np.stack(expected), atol=1e-6)
    at_start = [np.allclose(a, b, atol=1e-6) for a, b in zip(expected, starts, strict=True)]
    assert 3 <= sum(at_start) <= 9, "both kinds of image"


def test_published_values():
    published = Counterattack()
    assert (published.eps, published.step_size) == (4 / 255, 1 / 255)
    assert (published.steps, published.tau, published.beta) == (2, 0.2, 2.0)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 0.12), st.integers(0, 3), st.floats(0.001, 0.12), st.floats(0, 3), st.floats(0, 50)
)
def test_images_stay_in_the_ball_and_the_pixel_range(eps, steps, step_size, tau, beta):
    images, noise = images_and_noise()
    found = Counterattack(eps, steps, step_size, tau, beta).moved(images, noise, Linear(), None)
    assert ((found >= 0) & (found <= 1)).all()
    assert ((found - images).abs() <= eps + 1e-7).all()


@pytest.fixture
def defended(classifier):
    """A classifier of 5 classes behind the defence, and the same without."""

    def make(gauge=None, **changes):
        bare = classifier().eval()
        options = {"eps": 0.1, "step_size": 0.05, "tau": 0.3, **changes}
        defence = Counterattack(**options, gauge=gauge)
        return DefendedClassifier(bare, defence, model=None).eval(), bare

    return make


@torch.no_grad()
def test_no_room_is_no_defence(defended, samples):
    images, _, _ = samples()
    model, bare = defended(eps=0.0)
    assert torch.equal(model(images), bare(images))
    assert torch.equal(model.features(images), bare.features(images))


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"steps": 0, "tau": 9.0}, {"tau": 0.0}])
def test_without_steps_or_drift_to_fall_below_noise_alone_is_added(defended, samples, changes):
    images, _, _ = samples()
    model, bare = defended(**changes)
    noise = noise_of_keys(images, pixel_keys(images, seed=0, purpose="ttc"))
    expected = bare((images + 0.1 * noise).clamp(0, 1))
    assert torch.allclose(model(images), expected, atol=1e-4)
    assert not torch.allclose(model(images), bare(images), atol=1e-2)


@torch.no_grad()
def test_results_do_not_depend_on_the_batch(defended, samples):
    images, _, _ = samples(12)
    model, _ = defended()
    state = torch.random.get_rng_state()
    whole = model(images)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(model(images), whole)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(model(images[order]), whole[order], atol=1e-4)
    for row in range(12):
        assert torch.allclose(model(images[row : row + 1]), whole[row : row + 1], atol=1e-4)
    assert model(images[:0]).shape == (0, 5)


@torch.no_grad()
def test_a_seed_gives_other_noise(defended, samples):
    images, _, _ = samples()
    one, other = defended(seed=0)[0](images), defended(seed=1)[0](images)
    assert ((one - other).abs().amax(1) > 1e-3).all()


def steady(images):
    """An encoder that noise never moves."""
    return torch.ones(len(images), 6)


def wild(images):
    """One that noise always moves."""
    return torch.arange(len(images)).float()[:, None].expand(-1, 6) + 1


@torch.no_grad()
@pytest.mark.parametrize(("gauge", "tau"), [(steady, math.inf), (wild, 0.0)])
def test_the_gauge_decides_who_is_counterattacked(defended, samples, gauge, tau):
    images, _, _ = samples()

    class Gauge(torch.nn.Module):
        def forward(self, images):
            return gauge(images)

    by_gauge, _ = defended(gauge=Gauge(), tau=0.3)
    all_alike, _ = defended(tau=tau)
    assert torch.equal(by_gauge(images), all_alike(images))


def test_the_gradient_is_straight_through(defended, samples):
    images, _, _ = samples()
    model, bare = defended()
    direction = torch.linspace(-1, 1, 6)
    at = images.clone().requires_grad_(True)
    embeddings = model.embed(at)
    (found,) = torch.autograd.grad((embeddings @ direction).sum(), at)
    noise = noise_of_keys(images, pixel_keys(images, seed=0, purpose="ttc", restart=0))
    moved = model.defence.moved(images, noise, bare.embed, None).requires_grad_(True)
    (expected,) = torch.autograd.grad((bare.embed(moved) @ direction).sum(), moved)
    assert torch.allclose(found, expected, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(model.embed(images), embeddings, atol=1e-6)


def test_no_weight_gets_a_gradient(defended, samples):
    images, labels, ids = samples()
    model, bare = defended()
    before = copy.deepcopy(bare.state_dict())
    PGD(ThreatModel(eps=0.05), steps=2)(model, images, labels, ids)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in bare.parameters())
    assert all(torch.equal(value, before[key]) for key, value in bare.state_dict().items())


def test_an_attack_through_the_defence_finds_at_least_what_one_around_it_finds(defended, samples):
    images, _, ids = samples(200)
    model, bare = defended(tau=math.inf)
    labels = model(images).argmax(-1).detach()
    attack = PGD(ThreatModel(eps=0.03), steps=10)
    through, around = (attack(one, images, labels, ids) for one in (model, bare))
    fallen = [int((model(x).argmax(-1) != labels).sum()) for x in (images, around, through)]
    assert fallen[0] == 0 < fallen[1] < fallen[2]


@pytest.fixture
def run(tmp_path, tiny):
    """A fine-tuned model's folder."""
    model = load(tiny)
    model.encoder.proj.data.mul_(2)
    save_model(tmp_path / "run", model, "tecoa")
    return str(tmp_path / "run")


def test_a_name_is_loaded(tiny):
    model = load(f"ttc({tiny})")
    assert (model.name, model.method, model.source) == (f"ttc({tiny})", "ttc(original)", tiny)
    assert model.defence.undefended.name == tiny
    assert model.defence.undefended.method == "original"
    assert model.defence.defence.gauge is None
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    changed = load(f"ttc({tiny}, eps=8/255, tau=0.1, beta=3)")
    assert changed.method == "ttc(original, eps=8/255, tau=0.1, beta=3.0)"
    images = torch.rand(3, 3, 32, 32)
    bare, behind = (one.classifier(["cat", "dog"]) for one in (load(tiny), model))
    assert isinstance(behind, DefendedClassifier)
    assert not torch.equal(bare(images), behind(images))
    assert bare.further_settings() == {}
    settings = behind.further_settings()["defence"]
    assert settings["name"] == "ttc"
    assert settings["drift_of"] == "the model itself"


def test_the_drift_of_a_fine_tuned_model_is_that_of_its_original(run, tiny):
    model = load(f"ttc({run})")
    assert model.method == "ttc(tecoa)"
    assert fingerprint(model.defence.defence.gauge) == fingerprint(load(tiny).encoder)
    assert fingerprint(model.encoder) != fingerprint(load(tiny).encoder)
    described = model.classifier(["cat", "dog"]).further_settings()["defence"]
    assert described["drift_of"] == fingerprint(load(tiny).encoder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("steps=-1", "ttc steps is -1: must be 0 or more"),
        ("tau=nan", "ttc tau is nan: must be 0 or more"),
        ("beta=inf", "ttc beta is inf: must be 0 or more and finite"),
        ("step_size=0", "ttc step_size is 0/255: must be above 0"),
        ("eps=four", "'four' is not a number"),
        ("eps=4", "ttc eps is 4: must be below 1, the whole pixel range"),
        ("step_size=1", "ttc step_size is 1: must be below 1"),
        ("radius=1", "ttc has no option 'radius'"),
    ],
)
def test_bad_parameters_are_refused(tiny, options, message):
    with pytest.raises(RequestError, match=message):
        load(f"ttc({tiny}, {options})")


def test_a_defended_model_is_not_defended_again_nor_given_other_weights(tiny, run):
    with pytest.raises(RequestError, match=rf"name {tiny} instead"):
        load(f"ttc(ttc({tiny}))")
    weights = f"{run}/model.safetensors"
    with pytest.raises(RequestError, match=rf"a checkpoint's weights cannot.*name {tiny} instead"):
        load(f"ttc({tiny})@{weights}")
    assert load(f"ttc({tiny}@{weights})").method == "ttc(checkpoint model)"
