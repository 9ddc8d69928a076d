import pytest
import torch

from zsrobust.models.loading import load
from zsrobust.serve.limits import Limits
from zsrobust.serve.served import DEFAULTS, load_served
from zsrobust.utils.errors import RequestError


def test_without_names_it_is_the_embedded_models():
    found = load_served((), torch.device("cpu"), Limits())
    assert [one.name for one in found] == ["glyph-clip", "glyph-clip-robust"] == list(DEFAULTS)
    assert not any(weight.requires_grad for weight in found[0].model.encoder.parameters())


def test_the_classifier_is_that_of_evaluation_and_is_not_cached(served, cache, bishop):
    ours = served[0].classifier(bishop.class_names)
    assert not list(cache.rglob("*"))
    theirs = load("glyph-clip").classifier(bishop.class_names)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def test_too_many_and_doubled_models_are_refused():
    with pytest.raises(RequestError, match="5 models are too many: name 4 at most"):
        load_served(tuple("abcde"), torch.device("cpu"), Limits())
    with pytest.raises(RequestError, match="a is named twice"):
        load_served(("a", "a"), torch.device("cpu"), Limits())
