"""Each further objective against its formula in NumPy float64, and against differences."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from zsrobust.objectives import (
    AGFT,
    CAW,
    FARE,
    HPT,
    SAFT,
    TGAZSR,
    TRADES,
    AdvFLYP,
    CompTGA,
    FTAdv,
    SimCLIP,
)
from zsrobust.utils.errors import RequestError

GLOBAL = 10
SIDE = 5
"""Of the attention maps: 5 x 5 from 3 x 3 patches."""


def unit(embeddings):
    return embeddings / np.linalg.norm(embeddings, axis=-1, keepdims=True)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))


def cross_entropy(logits, labels):
    return -log_softmax(logits)[np.arange(len(labels)), labels]


def cosines(embeddings, vectors):
    return unit(embeddings) @ vectors.T


def pairwise_cosine(one, other):
    return (unit(one) * unit(other)).sum(1)


def fare(views, labels, vectors):
    return ((views["student_adversarial"] - views["teacher_clean"]) ** 2).sum(1)


def trades(views, labels, vectors, scale=7.0, beta=6.0):
    clean = log_softmax(scale * cosines(views["student_clean"], vectors))
    adversarial = log_softmax(scale * cosines(views["student_adversarial"], vectors))
    natural = -clean[np.arange(len(labels)), labels]
    return natural + beta * (np.exp(clean) * (clean - adversarial)).sum(1)


def agft(views, labels, vectors, scale=180.0, softness=0.4):
    soft = np.exp(log_softmax(softness * scale * cosines(views["teacher_clean"], vectors)))
    student = log_softmax(scale * cosines(views["student_adversarial"], vectors))
    return -(soft * student).sum(1)


def interpolation(size):
    """What each of ``size`` patches in a row adds to each pixel; pixel centres, edges held."""
    weights = np.zeros((SIDE, size))
    for pixel in range(SIDE):
        at = max((pixel + 0.5) * size / SIDE - 0.5, 0)
        low = math.floor(at)
        weights[pixel, low] += 1 - at % 1
        weights[pixel, min(low + 1, size - 1)] += at % 1
    return weights


ENLARGE = interpolation(3)


def attention(embedding, tokens, text, similarity):
    if similarity == "cosine":
        alike = unit(tokens) @ text
    else:
        lengths = np.sqrt(embedding**2 + (tokens**2).sum(0))
        alike = (tokens / lengths) @ text
    alike = (alike - alike.min()) / (alike.max() - alike.min())
    return ENLARGE @ alike.reshape(3, 3) @ ENLARGE.T


def text_guided(attention_of, alpha, beta, vectors_of=lambda vectors: [vectors]):
    """TGA-ZSR's loss with any map and any lists of class vectors, averaged over them."""

    def loss(views, labels, vectors, scale=7.0):
        values = np.zeros(len(labels))
        matrices = vectors_of(vectors)
        for matrix in matrices:
            values += cross_entropy(scale * cosines(views["student_adversarial"], matrix), labels)
            for row, label in enumerate(labels):

                def seen(view, row=row, label=label, matrix=matrix):
                    return attention_of(
                        views[view][row], views[f"{view}_tokens"][row], matrix[label], label
                    )

                original = seen("teacher_clean")
                values[row] += alpha * np.linalg.norm(seen("student_adversarial") - original)
                values[row] += beta * np.linalg.norm(seen("student_clean") - original)
        return values / len(matrices)

    return loss


def over_descriptions():
    """SAFT's released code: one map of the mean similarity over descriptions."""

    def loss(views, labels, vectors, scale=7.0):
        values = np.zeros(len(labels))
        for row, label in enumerate(labels):

            def seen(view, row=row, label=label):
                embedding, tokens = views[view][row], views[f"{view}_tokens"][row]
                lengths = np.sqrt(embedding**2 + (tokens**2).sum(0))
                alike = np.mean([(tokens / lengths) @ one[label] for one in DESCRIPTIONS], axis=0)
                alike = (alike - alike.min()) / (alike.max() - alike.min())
                return ENLARGE @ alike.reshape(3, 3) @ ENLARGE.T

            original = seen("teacher_clean")
            values[row] += 0.08 * np.linalg.norm(seen("student_adversarial") - original)
            values[row] += 0.05 * np.linalg.norm(seen("student_clean") - original)
        for one in DESCRIPTIONS:
            logits = scale * cosines(views["student_adversarial"], one)
            values += cross_entropy(logits, labels) / len(DESCRIPTIONS)
        return values

    return loss


NEGATED = unit(np.random.default_rng(5).normal(size=(5, 6)))
DESCRIPTIONS = [unit(np.random.default_rng(seed).normal(size=(5, 6))) for seed in (6, 7, 8)]


def single(similarity):
    return lambda embedding, tokens, text, label: attention(embedding, tokens, text, similarity)


def compared(similarity):
    def product(embedding, tokens, text, label):
        foreground = attention(embedding, tokens, text, similarity)
        return foreground * (1 - attention(embedding, tokens, NEGATED[label], similarity))

    return product


def contrastive(views, labels, vectors, scale=7.0, alpha=0.5, beta=0.3):
    """AdvFLYP: every image among the texts of the batch and the reverse."""

    def pairs(view):
        return scale * cosines(views[view], vectors)[:, labels]

    own = np.arange(len(labels))
    adversarial = pairs("student_adversarial")
    values = (cross_entropy(adversarial, own) + cross_entropy(adversarial.T, own)) / 2
    for other in ("teacher_adversarial", "student_clean"):
        log_p, log_q = log_softmax(adversarial), log_softmax(pairs(other))
        values = values + alpha * (np.exp(log_p) * (log_p - log_q)).sum(1)
        apart = unit(views["student_adversarial"]) - unit(views[other])
        values = values + beta * np.linalg.norm(apart, axis=1)
    return values


def transfer(views, labels, vectors, scale=7.0, alpha=0.3):
    student = log_softmax(scale * cosines(views["student_adversarial"], vectors))
    proxy = log_softmax(views["proxy"])
    original = log_softmax(scale * cosines(views["teacher_clean"], vectors))
    values = (np.exp(proxy) * (proxy - student)).sum(1)
    return values + alpha * (np.exp(original) * (original - student)).sum(1)


def confidence_aware(views, labels, vectors, scale=7.0, alpha=0.4, beta=0.3):
    student = log_softmax(scale * cosines(views["student_adversarial"], vectors))
    original = log_softmax(scale * cosines(views["teacher_clean"], vectors))
    true = student[np.arange(len(labels)), labels]
    divergence = (np.exp(student) * (student - original)).sum(1)
    apart = unit(views["student_adversarial"]) - unit(views["teacher_adversarial"])
    weighted = alpha * (1 - np.exp(true)) * divergence
    return -true + weighted + beta * np.linalg.norm(apart, axis=1)


CASES = {
    "caw": (CAW(alpha=0.4, beta=0.3), confidence_aware, ()),
    "caw, confidence alone": (
        CAW(alpha=0.4, beta=0.0),
        lambda *given: confidence_aware(*given, beta=0.0),
        (),
    ),
    "caw, distance alone": (
        CAW(alpha=0.0, beta=0.3),
        lambda *given: confidence_aware(*given, alpha=0.0),
        (),
    ),
    "hpt": (HPT(alpha=0.3, kl_reduction="mean"), transfer, ()),
    "hpt, summed": (HPT(alpha=0.3), lambda *given: GLOBAL * transfer(*given), ()),
    "hpt, without the original": (
        HPT(alpha=0.0, kl_reduction="mean"),
        lambda *given: transfer(*given, alpha=0.0),
        (),
    ),
    "adv_flyp": (AdvFLYP(alpha=0.5, beta=0.3), contrastive, ()),
    "adv_flyp, contrastive alone": (
        AdvFLYP(alpha=0.0, beta=0.0),
        lambda *given: contrastive(*given, alpha=0.0, beta=0.0),
        (),
    ),
    "fare": (FARE(), fare, ()),
    "trades": (TRADES(), trades, ()),
    "agft": (AGFT(), agft, ()),
    "agft, own scale": (
        AGFT(logit_scale="model", softness=2.0),
        lambda *given: agft(*given, scale=7.0, softness=2.0),
        (),
    ),
    "tga_zsr": (TGAZSR(map_side=SIDE), text_guided(single("cosine"), 0.08, 0.05), ()),
    "tga_zsr, authors' code": (
        TGAZSR(preset="authors_code", map_side=SIDE),
        text_guided(single("channels"), 0.08, 0.05),
        (),
    ),
    "comp_tga": (CompTGA(map_side=SIDE), text_guided(compared("cosine"), 0.10, 0.07), [NEGATED]),
    "comp_tga, authors' code": (
        CompTGA(preset="authors_code", map_side=SIDE),
        text_guided(compared("channels"), 0.10, 0.07),
        [NEGATED],
    ),
    "saft": (
        SAFT(map_side=SIDE),
        text_guided(single("cosine"), 0.08, 0.05, lambda vectors: DESCRIPTIONS),
        DESCRIPTIONS,
    ),
    "saft, authors' code": (
        SAFT(preset="authors_code", map_side=SIDE),
        over_descriptions(),
        DESCRIPTIONS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(case, computed, differences, name):
    model, views, labels = case
    objective, formula, texts = CASES[name]
    vectors = model.class_embeddings.double().numpy()

    def loss(at):
        return formula(at, labels, vectors).sum() / GLOBAL

    parts, gradients = computed(objective, model, views, labels, texts)
    assert parts["total"] == pytest.approx(loss(views), rel=1e-5)
    for view, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient.numpy(), differences(loss, views, view), rtol=2e-3, atol=3e-5, err_msg=view
        )
    expected = {f"student_{view}" for view in objective.needs.student}
    if objective.needs.tokens:
        expected |= {f"{view}_tokens" for view in expected}
        if getattr(objective, "preset", "paper") == "paper":
            # Clean images enter through their patches alone.
            expected -= {"student_clean"}
    assert set(gradients) == expected


def test_ft_adv_has_a_linear_layer_of_its_own(case, computed, differences):
    model, views, labels = case
    head = FTAdv().head(6, 5, seed=4)
    weight, bias = (part.detach().double().numpy() for part in (head.weight, head.bias))

    def loss(at):
        return cross_entropy(at["student_adversarial"] @ weight.T + bias, labels).sum() / GLOBAL

    parts, gradients = computed(FTAdv(), model, views, labels, head=head)
    assert parts["total"] == pytest.approx(loss(views), rel=1e-5)
    np.testing.assert_allclose(
        gradients["student_adversarial"].numpy(),
        differences(loss, views, "student_adversarial"),
        rtol=2e-3,
        atol=2e-5,
    )
    assert head.weight.grad.abs().max() > 0
    again, other = FTAdv().head(6, 5, seed=4), FTAdv().head(6, 5, seed=5)
    assert torch.equal(again.weight, head.weight)
    assert not torch.equal(other.weight, head.weight)


def test_ft_adv_draws_nothing_from_the_global_generator():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    FTAdv().head(6, 5, seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("preset", "clean", "moving"),
    [
        ("paper", "student_clean", {"student_adversarial", "student_clean"}),
        ("authors_code", "teacher_clean", {"student_adversarial"}),
    ],
)
def test_sim_clip_holds_one_side_of_each_half(case, computed, differences, preset, clean, moving):
    model, views, labels = case

    def loss(at):
        # Both halves have this value.
        return -pairwise_cosine(at["student_adversarial"], at[clean]).sum() / GLOBAL

    parts, gradients = computed(SimCLIP(preset=preset), model, views, labels)
    assert parts["total"] == pytest.approx(loss(views), rel=1e-5)
    assert gradients.keys() == moving
    # Each side moves in one of the two equal halves, so it gets half the whole gradient.
    for view in moving:
        np.testing.assert_allclose(
            gradients[view].numpy(), differences(loss, views, view) / 2, rtol=2e-3, atol=2e-5
        )


# A contrastive loss is that of a batch.
@pytest.mark.parametrize(
    "name", [*(name for name in CASES if "adv_flyp" not in name), "sim_clip", "ft_adv"]
)
def test_shares_of_a_split_batch_add_up(case, computed, name):
    model, views, labels = case
    head = nn.Linear(6, 5)
    objective, _, texts = {**CASES, "sim_clip": (SimCLIP(), 0, ()), "ft_adv": (FTAdv(), 0, ())}[
        name
    ]
    whole, _ = computed(objective, model, views, labels, texts, head)
    pieces = [
        computed(
            objective,
            model,
            {view: values[half] for view, values in views.items()},
            labels[half],
            texts,
            head,
        )[0]
        for half in (slice(0, 2), slice(2, None))
    ]
    for part, value in whole.items():
        assert sum(piece[part] for piece in pieces) == pytest.approx(value, rel=1e-5), part


def test_attention_of_equal_patches_has_a_finite_gradient(case, computed):
    model, views, labels = case
    flat = {**views, "student_clean_tokens": np.ones_like(views["student_clean_tokens"])}
    parts, gradients = computed(TGAZSR(map_side=SIDE), model, flat, labels)
    assert np.isfinite(parts["total"])
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_labels_name_what_departs_from_the_paper():
    assert TGAZSR().label == "tga_zsr[paper]"
    assert CompTGA(preset="authors_code").label == "comp_tga[authors_code]"
    assert SAFT(alpha=0.2).label == "saft[paper, alpha=0.2]"
    assert SimCLIP().label == "sim_clip[paper]"
    assert (AGFT().label, AGFT(softness=1.0).label) == ("agft", "agft[softness=1.0]")
    assert (TRADES().label, TRADES(beta=1.0).label) == ("trades", "trades[beta=1.0]")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TGAZSR(preset="mine"), "objective.preset is 'mine'"),
        (lambda: SimCLIP(preset="mine"), "objective.preset is 'mine'"),
        (lambda: TGAZSR(alpha=-1.0), "objective.alpha is -1.0: must be 0 or more"),
        (lambda: TGAZSR(beta=float("inf")), "objective.beta is inf: must be 0 or more"),
        (lambda: TGAZSR(map_side=0), "objective.map_side is 0: must be 1 or more"),
        (lambda: CompTGA(negation="no photo"), "objective.negation is 'no photo': must be text"),
        (lambda: SAFT(plain=[]), "objective.plain is []: must be a list of prompts"),
        (lambda: SAFT(plain=["a photo"]), "objective.plain is 'a photo': must be text with {}"),
        (lambda: AGFT(softness=0.0), "objective.softness is 0.0: must be above 0"),
        (lambda: AGFT(logit_scale=0.0), "objective.logit_scale is 0.0: must be above 0"),
        (lambda: AdvFLYP(alpha=-1.0), "objective.alpha is -1.0: must be 0 or more"),
        (lambda: HPT(proxy=""), "objective.proxy is '': must be the name of a model"),
        (lambda: CAW(beta=-1.0), "objective.beta is -1.0: must be 0 or more"),
        (lambda: TRADES(beta=float("nan")), "objective.beta is nan: must be 0 or more"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(RequestError) as refused:
        make()
    assert message in str(refused.value)
