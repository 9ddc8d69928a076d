import numpy as np
import open_clip
import pytest
import torch

from zsrobust.models.loading import load

NAMES = ("dog", "tabby cat", "fire engine")
TEMPLATES = ("a photo of a {}.", "the {} in {} colours")


@pytest.fixture
def text(tiny):
    return load(tiny).text


def test_class_vectors_are_normalised_means_of_normalised_prompts(text):
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    expected = []
    for name in NAMES:
        vectors = []
        for prompt in (f"a photo of a {name}.", f"the {name} in {name} colours"):
            with torch.no_grad():
                vector = text.model.encode_text(tokenizer([prompt]))[0].double().numpy()
            vectors.append(vector / np.linalg.norm(vector))
        mean = np.mean(vectors, axis=0)
        expected.append(mean / np.linalg.norm(mean))
    encoded = text.encode(NAMES, TEMPLATES)
    assert encoded.dtype == torch.float32
    np.testing.assert_allclose(encoded.numpy(), expected, atol=1e-5)


def test_batches_change_nothing(text):
    whole = text.encode(NAMES, TEMPLATES)
    text.batch_size = 4
    torch.testing.assert_close(text.encode(NAMES, TEMPLATES), whole)


def test_class_vectors_carry_no_graph(text):
    encoded = text.encode(NAMES, TEMPLATES)
    assert not encoded.requires_grad
    assert not encoded.is_inference()


def test_context_length_is_the_models(text):
    assert text.tokenize(["word " * 50]).shape == (1, 16)


def test_fingerprint_follows_the_text_side_only(architecture, tiny):
    architecture("other-heads", text_cfg={"heads": 4})
    before = load(tiny)
    assert load("other-heads/random").text.fingerprint != before.text.fingerprint

    from zsrobust.models.open_clip_text import OpenCLIPText

    text = before.text
    again = OpenCLIPText(text.model, text.tokenize, "a")
    assert again.fingerprint == OpenCLIPText(text.model, text.tokenize, "a").fingerprint
    longer = open_clip.SimpleTokenizer(context_length=17)
    assert OpenCLIPText(text.model, longer, "a").fingerprint != again.fingerprint
    with torch.no_grad():
        text.model.text_projection[0, 0] += 1e-3
    assert OpenCLIPText(text.model, text.tokenize, "a").fingerprint != again.fingerprint
