import pytest
import torch
from torch import nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.preprocessing import Preprocessing


class CountingText:
    def __init__(self, fingerprint="a"):
        self.fingerprint = fingerprint
        self.calls = []

    def encode(self, class_names, templates):
        self.calls.append((tuple(class_names), tuple(templates)))
        return torch.eye(4)[: len(class_names)]


@pytest.fixture
def text():
    return CountingText()


def classifier(text, names=("dog", "cat"), templates=("a {}",)):
    return CLIPModel("x", nn.Flatten(), text, Preprocessing("clip", 4), 1.0).classifier(
        names, templates
    )


def test_text_is_encoded_once_across_models_and_processes(text):
    first = classifier(text)
    again = classifier(CountingText())
    assert text.calls == [(("dog", "cat"), ("a {}",))]
    assert torch.equal(first.class_embeddings, again.class_embeddings)
    reloaded = CountingText()
    classifier(reloaded)
    assert reloaded.calls == []


@pytest.mark.parametrize(
    "changed",
    [
        {"names": ("cat", "dog")},
        {"names": ("dog", "cats")},
        {"templates": ("a {}", "the {}")},
        {"text": CountingText("b")},
    ],
)
def test_names_templates_and_text_side_each_have_their_own_entry(text, changed):
    classifier(text)
    other = changed.pop("text", CountingText())
    classifier(other, **changed)
    assert len(other.calls) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:20], lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_entry_is_encoded_again_and_repaired(text, cache, damage):
    classifier(text)
    (entry,) = (cache / "text").iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    classifier(text)
    classifier(text)
    assert len(text.calls) == 2


def test_an_unwritable_cache_costs_no_run(text, cache):
    cache.write_text("a file where the folder should be")
    assert torch.equal(classifier(text).class_embeddings, torch.eye(4)[:2])


def test_a_model_uses_its_default_templates(text):
    classifier(text, templates=None)
    assert text.calls == [(("dog", "cat"), ("This is a photo of a {}",))]
