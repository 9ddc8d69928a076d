"""Every objective against its formula written out in NumPy float64, and against differences."""

import numpy as np
import pytest
import torch

from zsrobust.objectives import PMGAFT, FTClean, TeCoA
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.errors import RequestError

GLOBAL = 10


def softmax_of(embeddings, vectors, scale):
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    logits = scale * unit @ vectors.T
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def cross_entropy(p, labels):
    return -np.log(p[np.arange(len(labels)), labels])


def kl(p, q):
    return (p * np.log(p / q)).sum(1)


def written_out(views, labels, vectors, *, scale, general, clean, reduction, alpha=1.0, beta=1.0):
    """PMG-AFT's loss; ``general`` and ``clean`` take the two distributions in a fixed order."""
    student = softmax_of(views["student_adversarial"], vectors, scale)
    own_clean = softmax_of(views["student_clean"], vectors, scale)
    teacher = softmax_of(views["teacher_adversarial"], vectors, scale)
    reduce = (lambda x: x.sum() / GLOBAL) if reduction == "mean" else (lambda x: x.sum())
    loss = cross_entropy(student, labels).sum() / GLOBAL
    loss += alpha * reduce(general(teacher, student))
    return loss + beta * reduce(clean(own_clean, student))


def forward(p, q):
    return kl(p, q)


def backward(p, q):
    return kl(q, p)


# The columns of the comparison of public implementations, each written out.
PRESETS = {
    "paper": {"scale": 7.0, "general": forward, "clean": forward, "reduction": "mean"},
    "authors_code": {"scale": 1.0, "general": forward, "clean": forward, "reduction": "sum"},
    "authors_first_revision": {
        "scale": 1.0,
        "general": backward,
        "clean": backward,
        "reduction": "sum",
    },
    "ttc": {"scale": 7.0, "general": backward, "clean": backward, "reduction": "mean"},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_pmg_aft_presets(case, preset, computed, differences):
    model, views, labels = case
    vectors = model.class_embeddings.double().numpy()

    def loss(at):
        return written_out(at, labels, vectors, **PRESETS[preset])

    parts, gradients = computed(PMGAFT(preset=preset), model, views, labels)
    assert parts["total"] == pytest.approx(loss(views), rel=1e-5)
    for name in ("student_adversarial", "student_clean"):
        np.testing.assert_allclose(
            gradients[name].numpy(), differences(loss, views, name), rtol=2e-3, atol=2e-5
        )


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (2.5, 0.0), (0.5, 3.0), (0.0, 0.0)])
def test_pmg_aft_weights(case, alpha, beta, computed):
    model, views, labels = case
    objective = PMGAFT(preset="paper", alpha=alpha, beta=beta)
    parts, gradients = computed(objective, model, views, labels)
    expected = written_out(
        views,
        labels,
        model.class_embeddings.double().numpy(),
        alpha=alpha,
        beta=beta,
        **PRESETS["paper"],
    )
    assert parts["total"] == pytest.approx(expected, rel=1e-5)
    assert ("clean" in objective.needs.student) == (beta > 0)
    assert bool(objective.needs.teacher) == (alpha > 0)
    assert ("student_clean" in gradients) == (beta > 0)


def test_stop_gradient_holds_the_clean_prediction(case, computed):
    model, views, labels = case
    free, free_gradients = computed(PMGAFT(), model, views, labels)
    held, held_gradients = computed(PMGAFT(stop_gradient=True), model, views, labels)
    assert held["total"] == free["total"]
    assert "student_clean" not in held_gradients
    assert "student_clean" in free_gradients


@pytest.mark.parametrize("general", ["l2", "cosine"])
def test_general_term_on_features(case, general, computed):
    model, views, labels = case
    student, teacher = views["student_adversarial"], views["teacher_adversarial"]
    cosine = (student * teacher).sum(1) / (
        np.linalg.norm(student, axis=1) * np.linalg.norm(teacher, axis=1)
    )
    distance = ((student - teacher) ** 2).sum(1) if general == "l2" else 1 - cosine
    parts, _ = computed(PMGAFT(preset="paper", general=general), model, views, labels)
    assert parts["general"] == pytest.approx(distance.sum() / GLOBAL, rel=1e-5)


def test_our_ft_standard_is_the_objective_on_clean_images(case, computed):
    model, views, labels = case
    objective = PMGAFT(preset="paper", images="clean")
    assert objective.needs.student == {"adversarial"}
    parts, _ = computed(objective, model, views, labels)
    vectors = model.class_embeddings.double().numpy()
    student = softmax_of(views["student_adversarial"], vectors, 7.0)
    teacher = softmax_of(views["teacher_adversarial"], vectors, 7.0)
    expected = (cross_entropy(student, labels) + kl(teacher, student)).sum() / GLOBAL
    assert parts["total"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("objective", "view", "scale"),
    [
        (FTClean(), "clean", 7.0),
        (TeCoA(), "adversarial", 7.0),
        (TeCoA(logit_scale=1.0), "adversarial", 1.0),
    ],
)
def test_cross_entropy_objectives(case, objective, view, scale, computed, differences):
    model, views, labels = case
    vectors = model.class_embeddings.double().numpy()
    name = f"student_{view}"

    def loss(at):
        return cross_entropy(softmax_of(at[name], vectors, scale), labels).sum() / GLOBAL

    parts, gradients = computed(objective, model, views, labels)
    assert parts["total"] == pytest.approx(loss(views), rel=1e-5)
    np.testing.assert_allclose(
        gradients[name].numpy(), differences(loss, views, name), rtol=2e-3, atol=2e-5
    )
    assert set(gradients) == {name}


def test_kl_survives_probabilities_that_underflow():
    p, q = torch.tensor([[400.0, 0.0]]), torch.tensor([[0.0, 400.0]])
    p.requires_grad_(True)
    found = kl_divergence(p, q)
    found.sum().backward()
    assert float(found.detach()) == pytest.approx(400.0)
    assert p.grad.isfinite().all()
    assert float(kl_divergence(q, q)) == 0.0


def test_shares_of_a_split_batch_add_up(case, computed):
    model, views, labels = case
    for objective in (PMGAFT(preset="paper"), PMGAFT(preset="authors_code"), TeCoA()):
        whole, _ = computed(objective, model, views, labels)
        pieces = [
            computed(objective, model, {name: v[half] for name, v in views.items()}, labels[half])[
                0
            ]
            for half in (slice(0, 2), slice(2, None))
        ]
        for name, value in whole.items():
            assert sum(piece[name] for piece in pieces) == pytest.approx(value, rel=1e-5), name


def test_labels_name_preset_and_departures():
    assert PMGAFT().label == "pmg_aft[authors_code]"
    assert PMGAFT(preset="ttc", alpha=0.0).label == "pmg_aft[ttc, alpha=0.0]"
    assert PMGAFT(kl_reduction="mean").label == "pmg_aft[authors_code, kl_reduction=mean]"
    assert PMGAFT(kl_reduction="sum").label == "pmg_aft[authors_code]"


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: PMGAFT(preset="mine"), "objective.preset is 'mine'"),
        (lambda: PMGAFT(alpha=-0.1), "objective.alpha is -0.1"),
        (lambda: PMGAFT(beta=float("nan")), "objective.beta is nan"),
        (lambda: PMGAFT(logit_scale=0.0), "objective.logit_scale is 0.0"),
        (lambda: TeCoA(logit_scale=-1.0), "objective.logit_scale is -1.0"),
        (lambda: FTClean(logit_scale=0.0), "objective.logit_scale is 0.0"),
    ],
)
def test_bad_options_are_refused(make, word):
    with pytest.raises(RequestError, match=word.replace("[", r"\[")):
        make()
