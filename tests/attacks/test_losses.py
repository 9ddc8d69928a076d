"""Every loss against its formula in NumPy float64, and what it must not depend on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.attacks import CW, PGD, ThreatModel, make_attack
from zsrobust.attacks.losses import LOSSES, dlr, likeliest_others, margin
from zsrobust.utils.errors import RequestError


def logits_and_labels(seed, shift=0.0, classes=6):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(9, classes)) * 3 + shift, generator.integers(classes, size=9)


def in_words(logits, labels):
    """Margin and DLR, sample by sample, by sorting and by looking at who is who."""
    margins, ratios = [], []
    for row, label in zip(logits, labels, strict=True):
        ranked = np.sort(row)[::-1]
        best_other = max(value for index, value in enumerate(row) if index != label)
        margins.append(best_other - row[label])
        ratios.append(-(row[label] - best_other) / (ranked[0] - ranked[2]))
    return np.array(margins), np.array(ratios)


@given(st.integers(0, 10**6), st.sampled_from([0.0, -100.0, 100.0]))
def test_margin_and_dlr_are_their_formulas(seed, shift):
    logits, labels = logits_and_labels(seed, shift)
    margins, ratios = in_words(logits, labels)
    given_logits, given_labels = torch.tensor(logits), torch.tensor(labels)
    np.testing.assert_allclose(margin(given_logits, given_labels), margins, rtol=1e-9)
    np.testing.assert_allclose(dlr(given_logits, given_labels), ratios, rtol=1e-6)
    wrong = logits.argmax(1) != labels
    assert ((margin(given_logits, given_labels) > 0).numpy() == wrong).all()


def test_dlr_ignores_scale_and_shift_and_margin_the_shift():
    logits, labels = map(torch.tensor, logits_and_labels(1))
    torch.testing.assert_close(dlr(100 * logits - 7, labels), dlr(logits, labels))
    torch.testing.assert_close(margin(logits - 7, labels), margin(logits, labels))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_finite_differences(loss):
    logits, labels = map(torch.tensor, logits_and_labels(2))
    assert torch.autograd.gradcheck(
        lambda x: LOSSES[loss](x, labels), logits.requires_grad_(True), atol=1e-6
    )


def test_dlr_refuses_two_classes():
    with pytest.raises(RequestError, match="needs 3 classes or more, not 2"):
        dlr(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long))


def test_targets_are_the_likeliest_other_classes():
    logits = torch.tensor([[1.0, 5.0, 3.0, 2.0], [-1.0, -5.0, -3.0, -2.0]])
    targets = likeliest_others(logits, torch.tensor([1, 3]), 2)
    assert [target.tolist() for target in targets] == [[2, 0], [3, 2]]
    assert len(likeliest_others(logits, torch.tensor([1, 3]), 9)) == 3


def test_cw_finds_the_worst_case_where_all_logits_are_negative(hyperplane):
    # A mask of zeros would call the true class, at 0, the best of the others.
    problem = hyperplane(negative=True)
    assert (problem.classifier(problem.images) < 0).all()
    assert (problem.classifier(problem.images).argmax(-1) == problem.labels).all()
    eps = 2 / 255
    found = CW(ThreatModel(eps=eps))(
        problem.classifier, problem.images, problem.labels, problem.ids
    )
    fallen = problem.classifier(found).argmax(-1) != problem.labels
    near = problem.margins < 0.9 * eps * problem.dual["linf"]
    assert 20 < near.sum() < 80
    assert fallen[near].all()


def test_cw_is_pgd_on_the_margin_under_the_name_of_the_field(of_classes):
    threat = ThreatModel(eps=4 / 255)
    cw, plain = make_attack("cw-10", threat), make_attack("pgd-10-margin", threat)
    assert torch.equal(cw(*of_classes(5)), plain(*of_classes(5)))
    assert (cw.name, plain.name) == ("cw-10", "pgd-10-margin")
    assert cw.describe()["loss"] == plain.describe()["loss"] == "margin"


def test_targeted_reaches_a_class_that_the_untargeted_attack_does_not_aim_at(of_classes):
    model, images, labels, ids = of_classes(12, n=60)
    threat = ThreatModel(eps=0.04)

    def fallen(targets):
        attack = PGD(threat, steps=3, loss="targeted", targets=targets)
        return model(attack(model, images, labels, ids)).argmax(-1) != labels

    one, nine = fallen(1), fallen(9)
    assert nine.sum() > one.sum()
    assert (nine | ~one).all(), "what falls to the first target falls to nine"


def test_targeted_with_one_target_is_cross_entropy_towards_the_runner_up(of_classes):
    model, images, labels, ids = of_classes(5)
    threat = ThreatModel(eps=0.01)
    attack = PGD(threat, steps=1, step_size=0.004, random_start=False, loss="targeted", targets=1)
    found = attack(model, images, labels, ids)
    runner_up = model(images).topk(2).indices[:, 1]
    at = images.clone().requires_grad_(True)
    torch.nn.functional.cross_entropy(model(at), runner_up, reduction="sum").backward()
    expected = (images - 0.004 * at.grad.sign()).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_that_never_falls_keeps_its_highest_score(of_classes, loss):
    model, images, labels, ids = of_classes(5, n=40)
    threat = ThreatModel(eps=0.002)

    def run(restarts):
        attack = PGD(threat, steps=1, step_size=1e-5, loss=loss, targets=3, restarts=restarts)
        logits = model(attack(model, images, labels, ids)).detach()
        score = margin if loss == "targeted" else LOSSES[loss]
        return logits.argmax(-1) != labels, score(logits, labels)

    (_, once), (fallen, often) = run(1), run(6)
    assert (~fallen).sum() > 20
    assert (often >= once)[~fallen].all()
    assert (often > once)[~fallen].any()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("restarts", [1, 2])
def test_early_stop_changes_cost_and_no_verdict_upwards(of_classes, loss, restarts):
    model, images, labels, ids = of_classes(5, n=40)
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))

    def run(early_stop):
        attack = PGD(ThreatModel(eps=0.03), loss=loss, restarts=restarts, early_stop=early_stop)
        seen.clear()
        found = attack(model, images, labels, ids)
        cost = sum(seen)
        return model(found).argmax(-1) != labels, cost

    (stopped, less), (full, more) = run(True), run(False)
    assert 0 < full.sum() < 40
    assert (stopped | ~full).all()
    assert less < more


def test_bad_losses_are_refused():
    for options, word in [
        ({"loss": "hinge"}, "attack.loss is 'hinge': must be ce or margin or dlr or targeted"),
        ({"targets": 0}, "attack.targets is 0"),
    ]:
        with pytest.raises(RequestError, match=word):
            PGD(ThreatModel(), **options)
