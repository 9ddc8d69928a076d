"""SCC against its formulas written out in float64, for a linear encoder."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from zsrobust.models.defences.base import DefendedClassifier
from zsrobust.models.defences.scc import Scc
from zsrobust.models.defences.ttc import Counterattack
from zsrobust.models.random_views import gaussian_noise
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.noise import noise_of_keys, pixel_keys
from zsrobust.utils.units import Eps

EPS, STEP = 0.05, 0.02


@pytest.fixture(scope="module")
def classifier():
    generator = torch.Generator().manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, 6, bias=False))
    encoder[1].weight.data = torch.randn(6, 48, generator=generator)
    encoder.requires_grad_(False)
    vectors = torch.randn(4, 6, generator=generator)
    return ZeroShotClassifier.from_parts(encoder, vectors, list("abcd"), logit_scale=10)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return (1.4 * torch.rand(8, 3, 4, 4, generator=generator) - 0.2).clamp(0, 1)


def noise_of(defence, images, number):
    return gaussian_noise(images, pixel_keys(images, seed=0, purpose="scc", restart=number))


def written_out(defence, classifier, image, warm, before, after):
    """Logits (C,) of one image (3, 4, 4), warmed up to ``warm``, with noise of the views."""
    w = classifier.encoder[1].weight.double().numpy()
    classes = classifier.class_embeddings.double().numpy()

    def unit(x):
        return w @ x.ravel() / np.linalg.norm(w @ x.ravel())

    def views(x, noise):
        flipped = x[:, :, ::-1]
        return [
            x,
            flipped,
            np.clip(x + defence.deviation * noise[0], 0, 1),
            np.clip(flipped + defence.deviation * noise[1], 0, 1),
        ]

    def cosine_gradient(x, target):
        u = unit(x)
        target = target / np.linalg.norm(target)
        along = (target - (u @ target) * u) / np.linalg.norm(w @ x.ravel())
        return (w.T @ along).reshape(x.shape)

    chances = [np.exp(10 * classes @ unit(view)) for view in views(warm, before)]
    mean = np.mean([one / one.sum() for one in chances], axis=0)
    sharpened = mean ** (1 / defence.temperature)
    prototype = (sharpened / sharpened.sum()) @ classes
    label = (classes @ unit(warm)).argmax()
    moved = image
    for _ in range(defence.steps):
        cosines = classes @ unit(moved)
        rival = max((k for k in range(4) if k != label), key=lambda k: cosines[k])
        ascent = cosine_gradient(moved, prototype) - cosine_gradient(moved, classes[rival])
        moved = np.clip(moved + STEP * np.sign(ascent), image - EPS, image + EPS).clip(0, 1)
    return np.mean([10 * classes @ unit(view) for view in views(moved, after)], axis=0)


@pytest.mark.parametrize("changes", [{}, {"steps": 1, "temperature": 1.0}, {"tau": 0.0}])
def test_equal_to_the_method_written_out(changes, classifier, images):
    options = {"eps": Eps(EPS), "step_size": Eps(STEP), "tau": 9.0, "deviation": 0.03, **changes}
    defence = Scc(**options)
    keys = pixel_keys(images, seed=0, purpose="scc")
    start = noise_of_keys(images, keys)
    counterattack = Counterattack(EPS, 2, STEP, defence.tau)
    warm = counterattack.moved(images, start, classifier.embed, None)
    before, after = (
        torch.stack([noise_of(defence, images, first + view) for view in (2, 3)])
        for first in (1, 5)
    )
    found = DefendedClassifier(classifier, defence, model=None)(images)
    expected = [
        written_out(
            defence,
            classifier,
            *(one.double().numpy() for one in (images[row], warm[row], before[:, row])),
            after[:, row].double().numpy(),
        )
        for row in range(8)
    ]
    torch.testing.assert_close(
        found.double(), torch.from_numpy(np.stack(expected)), atol=1e-4, rtol=0
    )
    assert not torch.allclose(found, classifier(images), atol=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 120), st.integers(0, 4), st.integers(1, 240), st.floats(0.05, 1))
def test_images_stay_in_the_ball_and_the_pixel_range(
    classifier, images, levels, steps, step_levels, temperature
):
    lengths = (Eps(f"{count}/255") for count in (levels, step_levels))
    defence = Scc(next(lengths), 1, steps, next(lengths), temperature=temperature)
    found = defence.corrected(classifier, images)
    assert ((found >= 0) & (found <= 1)).all()
    assert ((found - images).abs() <= defence.eps + 1e-6).all()


def test_the_gradient_is_that_of_the_last_views(classifier, images):
    defence = Scc(Eps(EPS), step_size=Eps(STEP), augmented=2)
    probe = torch.linspace(-1, 1, 4)

    def gradient(answer, at):
        at = at.clone().requires_grad_(True)
        return torch.autograd.grad((answer(at) @ probe).sum(), at)[0]

    behind = DefendedClassifier(classifier, defence, model=None)
    corrected = defence.corrected(classifier, images)
    expected = gradient(lambda at: (classifier(at) + classifier(at.flip(-1))) / 2, corrected)
    torch.testing.assert_close(gradient(behind, images), expected, atol=1e-5, rtol=1e-4)
