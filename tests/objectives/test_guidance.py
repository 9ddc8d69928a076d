"""The objective of a study of guidance over more names, against its formula in float64."""

import sys
from pathlib import Path

import numpy as np
import pytest

from zsrobust.data.names import tiny_imagenet_names
from zsrobust.objectives import objective_class
from zsrobust.utils.errors import RequestError

FILE = Path(__file__).parents[2] / "experiments" / "guidance.py"
GLOBAL = 10


@pytest.fixture
def guidance():
    """As a plan names it, so that it is no method of the package."""
    return objective_class(f"{FILE}:guidance")


def log_softmax(embeddings, vectors, scale=7.0):
    unit = embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)
    logits = scale * unit @ vectors.T
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def divergence(p, q):
    return (np.exp(p) * (p - q)).sum(1)


@pytest.mark.parametrize("names", ["classes", "imagenet"])
@pytest.mark.parametrize("guide", ["adversarial", "clean"])
def test_loss_and_gradient(guidance, case, computed, differences, names, guide):
    model, views, labels = case
    classes = model.class_embeddings.double().numpy()
    wide = np.random.default_rng(1).normal(size=(9, classes.shape[1]))
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    over = wide if names == "imagenet" else classes
    objective = guidance(labels=0.5, alpha=2.0, beta=3.0, names=names, guide=guide)
    assert objective.needs.teacher == {"clean", guide}

    def formula(views):
        predicted = log_softmax(views["student_adversarial"], classes)
        total = -0.5 * predicted[np.arange(len(labels)), labels]
        original = log_softmax(views[f"teacher_{guide}"], over)
        total = total + 2 * divergence(original, log_softmax(views["student_adversarial"], over))
        original = log_softmax(views["teacher_clean"], over)
        total = total + 3 * divergence(original, log_softmax(views["student_clean"], over))
        return total.sum() / GLOBAL

    texts = (wide,) if names == "imagenet" else ()
    parts, gradients = computed(objective, model, views, labels, texts)
    assert parts["total"] == pytest.approx(formula(views), rel=1e-5)
    for name in ("student_adversarial", "student_clean"):
        expected = differences(formula, views, name)
        assert gradients[name].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("weight", ["labels", "alpha", "beta"])
def test_negative_weights_are_refused(guidance, weight):
    with pytest.raises(RequestError, match=f"objective.{weight}"):
        guidance(**{weight: -1.0})


def test_names_that_are_held_out_do_not_guide(guidance):
    tiny = list(tiny_imagenet_names().values())
    names = sys.modules[guidance.__module__].guiding_names(tiny[:180])
    assert names[:180] == tiny[:180]
    assert not set(tiny[180:]) & set(names)
    assert 970 < len(names) == len(set(names)) <= 980
    assert guidance().prompts(tiny[:180]) == (tuple(f"a photo of a {name}." for name in names),)
    assert guidance(names="classes").prompts(tiny) == ()
