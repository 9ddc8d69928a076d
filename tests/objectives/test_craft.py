"""What each objective trains on: adversarial images of the student, or the clean ones."""

import pytest
import torch
from torch.nn import functional as F

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.objectives import (
    AGFT,
    FARE,
    OBJECTIVES,
    PMGAFT,
    SAFT,
    TGAZSR,
    TRADES,
    CompTGA,
    FTAdv,
    FTClean,
    SimCLIP,
    SumOfTerms,
    TeCoA,
    objective_class,
)
from zsrobust.objectives.base import Models
from zsrobust.utils.errors import RequestError
from zsrobust.utils.noise import uniform_noise

ATTACK = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3)


@pytest.mark.parametrize("objective", [FTClean(), PMGAFT(images="clean")])
def test_clean_objectives_hand_the_images_back(classifier, samples, objective):
    batch = Batch(*samples())
    assert objective.craft(Models(classifier()), batch, ATTACK, 0, {}) is batch.images
    assert not objective.needs.attack


@pytest.mark.parametrize(
    ("objective", "scale"),
    [(TeCoA(), 20.0), (PMGAFT(preset="paper"), 20.0), (PMGAFT(preset="authors_code"), 1.0)],
)
def test_adversarial_objectives_attack_the_student_at_their_scale(
    classifier, samples, objective, scale
):
    model, batch = classifier(batch_norm=False), Batch(*samples())
    crafted = objective.craft(Models(model), batch, ATTACK, 2, {})
    expected = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3, logit_scale=scale)(
        model, batch.images, batch.labels, batch.sample_ids, 2
    )
    assert torch.equal(crafted, expected)
    assert objective.needs.attack
    again = objective.craft(Models(model), batch, ATTACK, 3, {})
    assert not torch.equal(crafted, again), "each epoch starts elsewhere"


def squared(at, batch, models, clean):
    return (at - clean["teacher"]).square().sum(1)


def one_minus_cosine(at, batch, models, clean):
    return 1 - F.cosine_similarity(at, clean["own"])


def divergence(at, batch, models, clean):
    p = models.classifier.logits(clean["own"]).softmax(1)
    q = models.classifier.logits(at).softmax(1)
    return (p * (p / q).log()).sum(1)


def from_the_original(at, batch, models, clean):
    p, q = (models.classifier.logits(part, 7.0).softmax(1) for part in (clean["teacher"], at))
    return (p * (p / q).log()).sum(1)


def against_soft(at, batch, models, clean):
    soft = models.classifier.logits(clean["teacher"], 0.4 * 180).softmax(1)
    return -(soft * models.classifier.logits(at, 180.0).log_softmax(1)).sum(1)


def on_the_head(at, batch, models, clean):
    return F.cross_entropy(models.head(at), batch.labels, reduction="none")


def on_the_text(at, batch, models, clean):
    return F.cross_entropy(models.classifier.logits(at), batch.labels, reduction="none")


def on_each_description(at, batch, models, clean):
    scale = models.classifier.logit_scale
    logits = [scale * F.normalize(at, dim=1) @ text.T for text in models.texts]
    return sum(F.cross_entropy(part, batch.labels, reduction="none") for part in logits) / 2


@pytest.mark.parametrize(
    ("objective", "climbed"),
    [
        (FARE(), squared),
        (SimCLIP(), one_minus_cosine),
        (SimCLIP(preset="authors_code"), squared),
        (TRADES(), divergence),
        (AGFT(), against_soft),
        (FTAdv(), on_the_head),
        (TGAZSR(), on_the_text),
        (CompTGA(), on_the_text),
        (SAFT(), on_each_description),
        (SumOfTerms(attack_on="kl_anchor_adv", logit_scale=7.0), from_the_original),
    ],
)
def test_what_each_attack_climbs(classifier, samples, objective, climbed):
    """One signed step from the random start is the sign of the gradient of the stated loss."""
    model, batch = classifier(batch_norm=False), Batch(*samples())
    generator = torch.Generator().manual_seed(6)
    texts = tuple(F.normalize(torch.randn(5, 6, generator=generator), dim=1) for _ in range(2))
    models = Models(model, texts, objective.head(6, 5, 0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        clean = {"own": model.embed(batch.images), "teacher": model.embed(batch.images) + 0.2}
    attack = PGD(ThreatModel(eps=8 / 255), steps=1, step_size=3 / 255, seed=3)
    crafted = objective.craft(models, batch, attack, 2, {"clean": clean["teacher"]})

    noise = uniform_noise(batch.images, batch.sample_ids, seed=3, purpose="pgd", epoch=2)
    start = (batch.images + 8 / 255 * noise).clamp(0, 1).requires_grad_(True)
    loss = climbed(model.embed(start), batch, models, clean)
    (gradient,) = torch.autograd.grad(loss.sum(), start)
    moved = start.detach() + 3 / 255 * gradient.sign()
    expected = torch.minimum(moved, batch.images + 8 / 255)
    expected = torch.maximum(expected, batch.images - 8 / 255).clamp(0, 1)
    # A gradient next to zero may fall either way.
    same = (crafted - expected).abs() < 1e-6
    assert same.float().mean() > 0.995
    assert not crafted.requires_grad

    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    parameters = [*model.parameters(), *(models.head.parameters() if models.head else ())]
    assert all(part.requires_grad and part.grad is None for part in parameters)


def test_registry():
    for name, objective in OBJECTIVES.items():
        assert objective().label.startswith(name)
        assert objective_class(name) is objective
    with pytest.raises(RequestError, match="method 'pgm_aft' is unknown"):
        objective_class("pgm_aft")
