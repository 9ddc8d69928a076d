import pytest
import torch

from zsrobust.models.loading import load
from zsrobust.serve.limits import Limits
from zsrobust.serve.served import default_models, load_served
from zsrobust.utils.errors import RequestError


def test_without_names_and_photo_models_it_is_the_glyph_models(monkeypatch):
    monkeypatch.setattr("zsrobust.models.photo_lite.PACKAGES", ("no_such_package",))
    assert default_models() == ("glyph-clip", "glyph-clip-robust")
    found = load_served(default_models(), torch.device("cpu"), Limits())
    assert not any(one.reads_photographs for one in found)
    assert not any(weight.requires_grad for weight in found[0].model.encoder.parameters())


def test_photo_models_are_the_default_where_they_are_installed(monkeypatch):
    monkeypatch.setattr("zsrobust.models.photo_lite.PACKAGES", ("torch",))
    assert default_models() == ("photo-lite", "photo-lite-robust")


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
