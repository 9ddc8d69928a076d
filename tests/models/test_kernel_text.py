import numpy as np
import pytest
import torch

from zsrobust.models.photo_lite import KernelText, kernel_ridge

WORDS = ("dog", "cat", "car", "a", "the", "red")


def count_words(prompts):
    """A sentence encoder: word counts, plus length so that no two prompts are parallel."""
    rows = [[*(p.split().count(w) for w in WORDS), len(p) / 10] for p in prompts]
    return torch.tensor(rows, dtype=torch.float32)


def numpy_ridge(inputs, targets, queries, gamma, ridge):
    def kernel(a, b):
        return np.array([[np.exp(-gamma * ((x - y) ** 2).sum()) for y in b] for x in a])

    dual = np.linalg.inv(kernel(inputs, inputs) + ridge * np.eye(len(inputs))) @ targets
    return kernel(queries, inputs) @ dual


def test_kernel_ridge_is_its_formula():
    rng = np.random.default_rng(0)
    inputs, targets, queries = (
        rng.normal(size=(7, 3)),
        rng.normal(size=(7, 4)),
        rng.normal(size=(5, 3)),
    )
    expected = numpy_ridge(inputs, targets, queries, 0.7, 0.3)
    predicted = kernel_ridge(*map(torch.from_numpy, (inputs, targets, queries)), 0.7, 0.3)
    np.testing.assert_allclose(predicted.numpy(), expected, rtol=1e-10)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def vectors():
    return torch.randn(3, 5, generator=torch.Generator().manual_seed(0))


def make(vectors, **changes):
    settings = {"gamma": 2.0, "ridge": 0.5, "embed_identity": "words", **changes}
    return KernelText(count_words, ("dog", "cat", "red car"), vectors, **settings)


def test_class_vectors_are_regressed_under_the_templates_of_the_call(vectors):
    templates = ("a {}", "the red {}")

    def embed(names):
        prompts = [[f"a {n}", f"the red {n}"] for n in names]
        return unit(unit(np.array([count_words(p).double().numpy() for p in prompts])).mean(1))

    targets = vectors.double().numpy() - vectors.double().numpy().mean(0)
    expected = unit(
        numpy_ridge(embed(("dog", "cat", "red car")), targets, embed(("car", "cat")), 2.0, 0.5)
    )
    encoded = make(vectors).encode(("car", "cat"), templates)
    assert encoded.dtype == torch.float32
    np.testing.assert_allclose(encoded.numpy(), expected, atol=1e-5)


def test_known_classes_come_out_as_their_own_vectors_when_the_ridge_vanishes(vectors):
    encoded = make(vectors, ridge=1e-9).encode(("dog", "cat", "red car"), ("a {}",))
    centred = vectors - vectors.mean(0)
    torch.testing.assert_close(
        encoded, torch.nn.functional.normalize(centred, dim=-1), atol=1e-4, rtol=0
    )


def test_fingerprint_is_of_what_was_given_not_of_how_sums_round(vectors, monkeypatch):
    before = make(vectors).fingerprint
    plain = torch.Tensor.mean
    monkeypatch.setattr(
        torch.Tensor, "mean", lambda self, *of, **more: plain(self, *of, **more) + 1e-7
    )
    assert make(vectors).fingerprint == before


def test_fingerprint_covers_every_setting(vectors):
    prints = {
        make(vectors).fingerprint,
        make(vectors, gamma=3.0).fingerprint,
        make(vectors, ridge=0.6).fingerprint,
        make(vectors, embed_identity="other").fingerprint,
        make(vectors + torch.eye(3, 5)).fingerprint,
    }
    assert len(prints) == 5
    assert make(vectors).fingerprint in prints
