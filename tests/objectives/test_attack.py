"""What each objective trains on: adversarial images of the student, or the clean ones."""

import pytest
import torch
from torch.nn import functional as F

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.config.schema import FinetuneConfig
from zsrobust.data.batch import Batch
from zsrobust.objectives import (
    AGFT,
    CAW,
    FARE,
    HPT,
    LORE,
    OBJECTIVES,
    PMGAFT,
    SAFT,
    TGAZSR,
    TRADES,
    AdvFLYP,
    CompTGA,
    FTAdv,
    FTClean,
    MMCoA,
    SimCLIP,
    StepContext,
    SumOfTerms,
    TeCoA,
    objective_class,
)
from zsrobust.utils.errors import RequestError
from zsrobust.utils.noise import uniform_noise

ATTACK = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3)


@pytest.mark.parametrize("objective", [FTClean(), PMGAFT(images="clean")])
def test_clean_objectives_hand_the_images_back(classifier, samples, objective):
    batch = Batch(*samples())
    assert objective.adversarial(StepContext(classifier(), batch, ATTACK)) is batch.images
    assert objective.needs.attack is None


@pytest.mark.parametrize(
    ("objective", "scale"),
    [(TeCoA(), 20.0), (PMGAFT(preset="paper"), 20.0), (PMGAFT(preset="authors_code"), 1.0)],
)
def test_adversarial_objectives_attack_the_student_at_their_scale(
    classifier, samples, objective, scale
):
    model, batch = classifier(batch_norm=False), Batch(*samples())
    adversarial = objective.adversarial(StepContext(model, batch, ATTACK, epoch=2))
    expected = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3, logit_scale=scale)(
        model, batch.images, batch.labels, batch.sample_ids, 2
    )
    assert torch.equal(adversarial, expected)
    assert objective.needs.attack == "labels"
    again = objective.adversarial(StepContext(model, batch, ATTACK, epoch=3))
    assert not torch.equal(adversarial, again), "each epoch starts elsewhere"


def squared(at, step, clean):
    return (at - clean["teacher"]).square().sum(1)


def one_minus_cosine(at, step, clean):
    return 1 - F.cosine_similarity(at, clean["own"])


def divergence(at, step, clean):
    p = step.classifier.logits(clean["own"]).softmax(1)
    q = step.classifier.logits(at).softmax(1)
    return (p * (p / q).log()).sum(1)


def from_the_original(at, step, clean):
    p, q = (step.classifier.logits(part, 7.0).softmax(1) for part in (clean["teacher"], at))
    return (p * (p / q).log()).sum(1)


def against_soft(at, step, clean):
    soft = step.classifier.logits(clean["teacher"], 0.4 * 180).softmax(1)
    return -(soft * step.classifier.logits(at, 180.0).log_softmax(1)).sum(1)


def on_the_head(at, step, clean):
    return F.cross_entropy(step.head(at), step.labels, reduction="none")


def on_the_text(at, step, clean):
    return F.cross_entropy(step.classifier.logits(at), step.labels, reduction="none")


def on_the_batch(at, step, clean):
    pairs = step.classifier.logits(at)[:, step.labels]
    own = torch.arange(len(pairs))
    return len(pairs) * (F.cross_entropy(pairs, own) + F.cross_entropy(pairs.T, own)) / 2


def on_each_description(at, step, clean):
    scale = step.classifier.logit_scale
    logits = [scale * F.normalize(at, dim=1) @ text.T for text in step.texts]
    return sum(F.cross_entropy(part, step.labels, reduction="none") for part in logits) / 2


@pytest.mark.parametrize(
    ("objective", "climbed"),
    [
        (FARE(), squared),
        (LORE(), squared),
        (SimCLIP(), one_minus_cosine),
        (SimCLIP(preset="authors_code"), squared),
        (TRADES(), divergence),
        (AGFT(), against_soft),
        (FTAdv(), on_the_head),
        (AdvFLYP(), on_the_batch),
        (CAW(), on_the_text),
        (HPT(), on_the_text),
        (MMCoA(), on_the_text),
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
    head = objective.head(6, 5, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        clean = {"own": model.embed(batch.images), "teacher": model.embed(batch.images) + 0.2}
    attack = PGD(ThreatModel(eps=8 / 255), steps=1, step_size=3 / 255, seed=3)
    step = StepContext(
        model, batch, attack, 2, texts=texts, head=head, teacher={"clean": clean["teacher"]}
    )
    adversarial = objective.adversarial(step)

    noise = uniform_noise(batch.images, batch.sample_ids, seed=3, purpose="pgd", epoch=2)
    start = (batch.images + 8 / 255 * noise).clamp(0, 1).requires_grad_(True)
    loss = climbed(model.embed(start), step, clean)
    (gradient,) = torch.autograd.grad(loss.sum(), start)
    moved = start.detach() + 3 / 255 * gradient.sign()
    expected = torch.minimum(moved, batch.images + 8 / 255)
    expected = torch.maximum(expected, batch.images - 8 / 255).clamp(0, 1)
    # A gradient next to zero may fall either way.
    same = (adversarial - expected).abs() < 1e-6
    assert same.float().mean() > 0.995
    assert not adversarial.requires_grad

    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    parameters = [*model.parameters(), *(head.parameters() if head else ())]
    assert all(part.requires_grad and part.grad is None for part in parameters)


def test_registry():
    for name, objective in OBJECTIVES.items():
        assert objective().label.startswith(name)
        assert objective_class(name) is objective
        assert objective().name == name
    with pytest.raises(RequestError, match="there is no method 'pgm_aft': did you mean pmg_aft"):
        objective_class("pgm_aft")


def test_an_objective_of_another_method_is_refused():
    with pytest.raises(RequestError, match="must be an objective of method tga_zsr"):
        FinetuneConfig(model="m", data="d", method="tga_zsr", objective=CompTGA())
