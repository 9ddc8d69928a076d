import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from zsrobust.attacks import PGD, ThreatModel, make_attack, pgd
from zsrobust.attacks.transfer import read_transfer
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.noise import uniform_noise

EPS = 8 / 255


def attack(**options):
    return PGD(ThreatModel(eps=EPS), **options)


def test_linear_loss_reaches_its_closed_form_maximum():
    weights = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    found = pgd(
        lambda x: (weights * x).sum((1, 2, 3)),
        images,
        ThreatModel(eps=EPS),
        steps=5,
        step_size=EPS / 4,
    )
    expected = (images + EPS * weights.sign()).clamp(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_agrees_with_the_exact_robustness_of_a_linear_boundary():
    # The cosine decides between two classes by the sign of x . (c0 - c1): a hyperplane, so the
    # worst point of the ball has the margin  x . w - eps |w|_1.
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2, 0.1], [0.3, 0.9, 0.4]]))
    classifier = ZeroShotClassifier.from_parts(nn.Flatten(), vectors, ["zero", "one"])
    images = 0.3 + 0.4 * torch.rand(400, 3, 1, 1, generator=torch.Generator().manual_seed(2))
    w = vectors[0] - vectors[1]
    margins = images.flatten(1) @ w
    labels = (margins < 0).long()
    reach = EPS * w.abs().sum()
    ids = [str(index) for index in range(len(images))]
    after = classifier(attack(steps=20)(classifier, images, labels, ids)).argmax(-1)
    fallen = after != labels
    assert not fallen[margins.abs() > reach * 1.0001].any()
    assert fallen[margins.abs() < reach * 0.9].all()
    assert (margins.abs() < reach * 0.9).sum() > 10


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 4),
    restarts=st.integers(1, 3),
    early_stop=st.booleans(),
    eps=st.floats(0, 0.3),
)
def test_stays_inside_the_threat_model(steps, restarts, early_stop, eps):
    classifier = ZeroShotClassifier.from_parts(
        nn.Flatten(), torch.eye(3, 12), ["a", "b", "c"], logit_scale=30
    )
    images = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(steps))
    labels = torch.arange(5) % 3
    made = PGD(ThreatModel(eps=eps), steps=steps, restarts=restarts, early_stop=early_stop)
    found = made(classifier, images, labels, list("abcde"))
    assert (found - images).abs().max() <= eps + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found.requires_grad


@pytest.mark.parametrize("options", [{}, {"early_stop": True}, {"restarts": 3}])
def test_results_are_batch_independent(classifier, samples, options):
    model, (images, labels, ids) = classifier(), samples(8)
    whole = attack(steps=4, **options)(model, images, labels, ids)
    order = [5, 2, 7]
    some = attack(steps=4, **options)(
        model, images[order], labels[order], [ids[index] for index in order]
    )
    torch.testing.assert_close(some, whole[order], atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [{}, {"early_stop": True}, {"restarts": 2}])
def test_the_model_is_left_as_it_was_found(classifier, samples, options):
    model, (images, labels, ids) = classifier(), samples()
    model.train()
    model.encoder.body[0].eval()
    model.encoder.body[5].bias.requires_grad_(False)
    model.encoder.body[5].weight.grad = torch.ones(6, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    random_state = torch.random.get_rng_state()

    attack(steps=2, **options)(model, images, labels, ids)

    assert [module.training for module in model.encoder.body] == [False] + 5 * [True]
    wanted = {name: True for name, _ in model.named_parameters()} | {"encoder.body.5.bias": False}
    assert {name: value.requires_grad for name, value in model.named_parameters()} == wanted
    assert torch.equal(model.encoder.body[5].weight.grad, torch.ones(6, 32))
    assert model.encoder.body[0].weight.grad is None
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_the_model_is_left_as_it_was_found_after_a_failure(classifier, samples):
    model, (images, labels, ids) = classifier(), samples()
    with torch.no_grad():
        model.encoder.body[5].weight[0, 0] = float("nan")
    with pytest.raises(RunError, match="is NaN"):
        attack(steps=1)(model, images, labels, ids)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_restarts_find_what_one_start_does_not(classifier, samples):
    model, (images, _, ids) = classifier(), samples(200)
    labels = model.eval()(images).argmax(-1)

    def fallen(restarts):
        found = attack(steps=1, step_size=EPS / 8, restarts=restarts)(model, images, labels, ids)
        return model(found).argmax(-1) != labels

    one, five = fallen(1), fallen(5)
    assert five.sum() > one.sum()
    assert (five | ~one).all(), "what falls to the first start falls to five"


def test_early_stop_keeps_the_first_wrong_iterate(classifier, samples):
    model, (images, _, ids) = classifier(), samples(40)
    labels = model.eval()(images).argmax(-1)
    stopped = attack(steps=8, step_size=EPS / 4, early_stop=True)(model, images, labels, ids)
    noise = uniform_noise(images, ids, seed=0, purpose="pgd")
    current = (images + EPS * noise).clamp(0, 1)
    for _ in range(8):
        at = current.clone().requires_grad_(True)
        logits = model(at)
        right = logits.argmax(-1) == labels
        torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
        moved = torch.minimum(
            torch.maximum(at + EPS / 4 * at.grad.sign(), images - EPS), images + EPS
        ).clamp(0, 1)
        current = torch.where(right[:, None, None, None], moved.detach(), current)
    torch.testing.assert_close(stopped, current, atol=1e-6, rtol=0)
    assert 0 < (model(stopped).argmax(-1) != labels).sum() < 40


def test_logit_scale_changes_the_gradient_but_not_the_model(classifier, samples):
    model, (images, labels, ids) = classifier(), samples()
    own = attack(steps=3)(model, images, labels, ids)
    same = attack(steps=3, logit_scale=20.0)(model, images, labels, ids)
    other = attack(steps=3, logit_scale=1.0)(model, images, labels, ids)
    assert torch.equal(own, same)
    assert not torch.equal(own, other)
    assert model.logit_scale == 20.0


def test_names_and_bad_parameters():
    assert make_attack("pgd-7", ThreatModel(eps=EPS)).name == "pgd-7"
    assert attack(steps=10).describe()["step_size"] == pytest.approx(EPS / 4)
    for name in ("pgd", "pgd-x", "pgd-10.5", "no-such-attack"):
        with pytest.raises(RequestError, match="there is no attack"):
            make_attack(name, ThreatModel())
    for options, word in [
        ({"steps": 0}, "attack.steps is 0"),
        ({"restarts": 0}, "attack.restarts is 0"),
        ({"step_size": 0.0}, "attack.step_size is 0.0"),
        ({"restarts": 2, "random_start": False}, "random_start"),
    ]:
        with pytest.raises(RequestError, match=word):
            attack(**options)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PGD-10", "pgd-10"),
        ("pgd20", "pgd-20"),
        ("pgd_7", "pgd-7"),
        ("pgd(7)", "pgd-7"),
        ("noise(5)", "noise-5"),
        ("CW 20", "cw-20"),
        ("pgd", "pgd-10"),
        ("pgd--1", "pgd-10"),
        ("pgd-2 ", "pgd-2"),
        ("AutoAttack", "autoattack"),
        ("aa", "autoattack"),
        ("APGD_CE", "apgd-ce"),
        ("fab", "fab-t"),
    ],
)
def test_a_name_written_otherwise_is_answered_with_the_right_one(name, meant):
    with pytest.raises(RequestError, match=f"did you mean {meant}\\?"):
        make_attack(name, ThreatModel())


@pytest.mark.parametrize("name", ["worst(pgd-2, cw-2)", "ttc(glyph-clip)", "wise(m, 0.5)", "f()"])
def test_other_forms_in_parentheses_are_answered_with_those_there_are(name):
    with pytest.raises(RequestError, match=r"transfer\(ATTACK, MODEL\), eot.* the worst .* A\+B"):
        make_attack(name, ThreatModel())


@pytest.mark.parametrize(
    "name",
    [
        *("transfer", "transfer()", "transfer(pgd-2)", "transfer(pgd-2, )", "transfer(, m)"),
        *("Transfer(pgd-2, m)", "transfer(pgd-2, m", "transfer(pgd-2, m))", "transfer pgd-2 m"),
        *("transfer(pgd-2, m, n)", "transfer(pgd-2, m)+cw-2", "transfer(a, m)+transfer(b, n)"),
    ],
)
def test_transfer_written_otherwise_is_answered_with_its_form(name):
    with pytest.raises(RequestError, match=r"must be written transfer\(ATTACK, MODEL\)"):
        read_transfer(name)


def test_transfer_is_read():
    assert read_transfer("transfer(pgd-2, m)") == ("pgd-2", "m")
    named = read_transfer("transfer(pgd-2+cw-3,ttc(m, eps=8/255, seed=1))")
    assert named == ("pgd-2+cw-3", "ttc(m, eps=8/255, seed=1)")
    assert read_transfer("pgd-2") is None
    with pytest.raises(RequestError, match="Transfer"):
        make_attack("transfer(pgd-2, m)", ThreatModel())
