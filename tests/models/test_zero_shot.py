import numpy as np
import pytest
import torch
from torch import nn

from zsrobust.models.loading import load
from zsrobust.models.zero_shot import ZeroShotClassifier


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 8))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    images = torch.rand(5, 3, 4, 4, generator=generator)
    return encoder, torch.randn(3, 8, generator=generator), images


def cosines(embeddings, vectors):
    a, b = embeddings.detach().double().numpy(), vectors.double().numpy()
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return a @ b.T / lengths


def test_logits_are_scaled_cosines(parts):
    encoder, vectors, images = parts
    classifier = ZeroShotClassifier.from_parts(encoder, vectors, "abc", logit_scale=20)
    expected = 20 * cosines(encoder(images), vectors)
    np.testing.assert_allclose(classifier(images).detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        classifier.features(images).norm(dim=-1).detach().numpy(), 1, rtol=1e-6
    )


def test_logits_are_fp32_under_autocast(parts):
    encoder, vectors, images = parts
    classifier = ZeroShotClassifier.from_parts(encoder, vectors, "abc", logit_scale=100)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings, logits = classifier.embed(images), classifier(images)
    assert embeddings.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    # bf16 cosines would be off by about 0.3 after the scale of 100.
    np.testing.assert_allclose(
        logits.detach().numpy(), 100 * cosines(embeddings, vectors), atol=1e-3
    )


def test_from_parts_gives_the_logits_of_the_loaded_model(tiny):
    model = load(tiny)
    names = ("dog", "cat")
    images = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    whole = model.classifier(names, ("a {}",))
    parts = ZeroShotClassifier.from_parts(
        model.encoder,
        model.text.encode(names, ("a {}",)),
        names,
        preprocessing=model.preprocessing,
        logit_scale=model.logit_scale,
    )
    torch.testing.assert_close(parts(images), whole(images))


def test_a_wrong_number_of_class_names_is_refused(parts):
    encoder, vectors, _ = parts
    with pytest.raises(ValueError, match="2 class names"):
        ZeroShotClassifier.from_parts(encoder, vectors, "ab")
