"""Sums of terms: equal to the methods they spell out, and refused where they make no sense."""

import numpy as np
import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.objectives import (
    FARE,
    PMGAFT,
    TGAZSR,
    TRADES,
    SimCLIP,
    StepContext,
    SumOfTerms,
    TeCoA,
    Term,
)
from zsrobust.objectives.pmg_aft import PRESETS
from zsrobust.objectives.sum import TERMS
from zsrobust.utils.errors import RequestError

ATTACK = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3)

GENERAL = {"teacher||student": "kl_teacher_adv", "student||teacher": "kl_adv_teacher"}
CLEAN = {"clean||adversarial": "kl_clean_adv", "adversarial||clean": "kl_adv_clean"}


def pmg_aft_as_sum(preset, alpha=1.0, beta=1.0):
    options = PRESETS[preset]
    reduction = options["kl_reduction"]
    return SumOfTerms(
        terms=[
            Term("ce_adv"),
            Term(GENERAL[options["general_kl"]], alpha, reduction),
            Term(CLEAN[options["clean_kl"]], beta, reduction),
        ],
        logit_scale=options["logit_scale"],
    )


PAIRS = {
    "tecoa": (TeCoA(), SumOfTerms()),
    "tecoa at scale 1": (TeCoA(logit_scale=1.0), SumOfTerms(logit_scale=1.0)),
    **{f"pmg_aft {name}": (PMGAFT(preset=name), pmg_aft_as_sum(name)) for name in PRESETS},
    "pmg_aft with other weights": (
        PMGAFT(preset="paper", alpha=0.5, beta=3.0),
        pmg_aft_as_sum("paper", 0.5, 3.0),
    ),
    "fare": (FARE(), SumOfTerms([Term("l2_anchor_adv")], attack_on="l2_anchor_adv")),
    "trades": (
        TRADES(),
        SumOfTerms([Term("ce_clean"), Term("kl_clean_adv", 6.0)], attack_on="kl_clean_adv"),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_method_equals_its_sum(case, computed, name):
    model, views, labels = case
    method, terms = PAIRS[name]
    (one, one_gradients), (two, two_gradients) = (
        computed(objective, model, views, labels) for objective in (method, terms)
    )
    assert two["total"] == one["total"]
    assert terms.needs == method.needs
    assert one_gradients.keys() == two_gradients.keys()
    for view, gradient in one_gradients.items():
        torch.testing.assert_close(two_gradients[view], gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", PAIRS)
def test_a_method_attacks_as_its_sum_does(classifier, samples, name):
    model, batch = classifier(batch_norm=False), Batch(*samples())
    with torch.no_grad():
        teacher = {"clean": model.embed(batch.images) + 0.1}
    step = StepContext(model, batch, ATTACK, epoch=1, teacher=teacher)
    method, terms = (objective.adversarial(step) for objective in PAIRS[name])
    assert torch.equal(method, terms)


def test_sim_clips_attack_in_a_sum(classifier, samples):
    model, batch = classifier(batch_norm=False), Batch(*samples())
    terms = SumOfTerms([Term("cosine_clean_adv")], attack_on="cosine_clean_adv")
    step = StepContext(model, batch, ATTACK, epoch=1)
    one, two = (objective.adversarial(step) for objective in (SimCLIP(), terms))
    assert torch.equal(one, two)


def test_an_attack_against_the_original_asks_for_its_clean_embeddings():
    for attack_on in ("kl_anchor_adv", "l2_anchor_adv"):
        assert SumOfTerms(attack_on=attack_on).needs.teacher == {"clean"}
        assert SumOfTerms(attack_on=attack_on).needs.random_start
    assert SumOfTerms().needs.teacher == frozenset()


def test_without_an_attack_the_images_are_clean(classifier, samples):
    batch = Batch(*samples())
    terms = SumOfTerms([Term("ce_adv")], attack_on="none")
    assert terms.adversarial(StepContext(classifier(), batch, ATTACK)) is batch.images


S_ADV, S_CLEAN, T_ADV, T_CLEAN = (
    "student_adversarial",
    "student_clean",
    "teacher_adversarial",
    "teacher_clean",
)
# The table of docs/fidelity.md: distance, and the two sides in order.
TABLE = {
    "ce_adv": ("ce", S_ADV, None),
    "ce_clean": ("ce", S_CLEAN, None),
    "contrast_adv": ("contrast", S_ADV, None),
    "contrast_clean": ("contrast", S_CLEAN, None),
    "kl_teacher_adv": ("kl", T_ADV, S_ADV),
    "kl_adv_teacher": ("kl", S_ADV, T_ADV),
    "kl_teacher_clean": ("kl", T_CLEAN, S_CLEAN),
    "kl_clean_teacher": ("kl", S_CLEAN, T_CLEAN),
    "kl_clean_adv": ("kl", S_CLEAN, S_ADV),
    "kl_adv_clean": ("kl", S_ADV, S_CLEAN),
    "kl_anchor_adv": ("kl", T_CLEAN, S_ADV),
    "l2_teacher_adv": ("l2", T_ADV, S_ADV),
    "l2_teacher_clean": ("l2", T_CLEAN, S_CLEAN),
    "l2_clean_adv": ("l2", S_CLEAN, S_ADV),
    "l2_anchor_adv": ("l2", T_CLEAN, S_ADV),
    "cosine_teacher_adv": ("cosine", T_ADV, S_ADV),
    "cosine_teacher_clean": ("cosine", T_CLEAN, S_CLEAN),
    "cosine_clean_adv": ("cosine", S_CLEAN, S_ADV),
    "cosine_anchor_adv": ("cosine", T_CLEAN, S_ADV),
}


def unit(embeddings):
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def log_p(embeddings, vectors, scale=7.0):
    logits = scale * unit(embeddings) @ vectors.T
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def contrastive(embeddings, texts, scale=7.0):
    """One sample at a time: CLIP's loss of pairs, each side among all of the other."""
    alike = scale * unit(embeddings) @ texts.T
    values = []
    for own in range(len(alike)):
        image, text = alike[own], alike[:, own]
        among = np.log(np.exp(image).sum()) + np.log(np.exp(text).sum())
        values.append(among / 2 - alike[own, own])
    return np.array(values)


def by_the_table(name, views, labels, vectors):
    """A value a sample."""
    kind, first, second = TABLE[name]
    one = views[first]
    other = views[second] if second else None
    if kind == "ce":
        return -log_p(one, vectors)[np.arange(len(labels)), labels]
    if kind == "contrast":
        return contrastive(one, vectors[labels])
    if kind == "kl":
        p, q = log_p(one, vectors), log_p(other, vectors)
        return (np.exp(p) * (p - q)).sum(1)
    if kind == "l2":
        return ((one - other) ** 2).sum(1)
    return 1 - (unit(one) * unit(other)).sum(1)


@pytest.mark.parametrize("name", TABLE)
def test_each_term_is_what_the_table_says(case, computed, differences, name):
    model, views, labels = case
    vectors = model.class_embeddings.double().numpy()

    def loss(at):
        return by_the_table(name, at, labels, vectors).sum() / 10

    parts, gradients = computed(SumOfTerms([Term(name)]), model, views, labels)
    assert parts["total"] == pytest.approx(loss(views), rel=1e-5)
    for view, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient.numpy(), differences(loss, views, view), rtol=2e-3, atol=3e-5, err_msg=view
        )


def test_attention_terms_are_tga_zsrs(case, computed):
    model, views, labels = case
    assert set(TERMS) - set(TABLE) == {"attention_adv", "attention_clean"}
    whole, gradients = computed(TGAZSR(), model, views, labels)
    terms = [Term("ce_adv"), Term("attention_adv", 0.08), Term("attention_clean", 0.05)]
    summed, others = computed(SumOfTerms(terms), model, views, labels)
    assert summed["total"] == pytest.approx(whole["total"], rel=1e-6)
    assert gradients.keys() == others.keys()
    for view, gradient in gradients.items():
        torch.testing.assert_close(others[view], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_each_term_reads_what_it_says_and_scales(case, computed, name):
    model, views, labels = case
    once, gradients = computed(SumOfTerms([Term(name)]), model, views, labels)
    assert gradients, "every term moves the model in training"
    more, scaled = computed(SumOfTerms([Term(name, -2.5)]), model, views, labels)
    assert more["total"] == pytest.approx(-2.5 * once["total"], rel=1e-6)
    assert more[name] == once[name]
    for view, gradient in gradients.items():
        # A map's 50,176 pixels are added up in fp32.
        np.testing.assert_allclose(scaled[view], -2.5 * gradient, rtol=1e-4, atol=5e-5)
    summed, _ = computed(SumOfTerms([Term(name, 1.0, "sum")]), model, views, labels)
    assert summed["total"] == pytest.approx(10 * once["total"], rel=1e-6)


def test_divergences_and_distances_vanish_between_equals(case, computed):
    model, views, labels = case
    same = {
        name: views["student_clean_tokens" if name.endswith("tokens") else "student_clean"]
        for name in views
    }
    for name in TERMS:
        parts, _ = computed(SumOfTerms([Term(name)]), model, same, labels)
        zero = parts["total"] == pytest.approx(0, abs=1e-5)
        assert zero != name.startswith(("ce_", "contrast_")), name


def test_labels_are_the_formula():
    assert SumOfTerms().label == "sum[ce_adv]"
    terms = SumOfTerms(
        [Term("ce_adv"), Term("kl_teacher_adv", 0.5), Term("kl_clean_adv", 2.0, "sum")],
        logit_scale=1.0,
        attack_on="kl_clean_adv",
    )
    assert terms.label == (
        "sum[ce_adv + 0.5 kl_teacher_adv + 2 sum(kl_clean_adv), attack_on=kl_clean_adv, "
        "logit_scale=1.0]"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Term("kl_teacher"), "objective.terms.name is 'kl_teacher': must be one of ce_adv"),
        (lambda: Term("ce_adv", float("inf")), "weight of ce_adv is inf: must be a finite number"),
        (lambda: Term("ce_adv", float("nan")), "weight of ce_adv is nan: must be a finite number"),
        (lambda: Term("ce_adv", 1.0, "average"), "objective.terms.reduction is 'average'"),
        (lambda: SumOfTerms([]), "objective.terms is empty: must be one term or more"),
        (lambda: SumOfTerms([Term("ce_adv")] * 2), "objective.terms is ce_adv twice"),
        (lambda: SumOfTerms(attack_on="dlr"), "objective.attack_on is 'dlr'"),
        (lambda: SumOfTerms(logit_scale=-1.0), "objective.logit_scale is -1.0"),
    ],
)
def test_bad_sums_are_refused(make, message):
    with pytest.raises(RequestError) as refused:
        make()
    assert message in str(refused.value)
