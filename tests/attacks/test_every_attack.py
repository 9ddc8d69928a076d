"""What must hold for every attack that has a name."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsrobust.attacks import Ensemble, ThreatModel, Transfer, make_attack
from zsrobust.attacks.registry import ENSEMBLES, EXAMPLES
from zsrobust.utils.errors import RequestError, RunError

# Our APGD on every target, and ensembles, take seconds each.
SLOW = {name for name in EXAMPLES if "t-early" in name or name in ENSEMBLES}
EVERY = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in EXAMPLES],
)
NORMS = pytest.mark.parametrize("norm", ["linf", "l2"])
# They look where chance sends them, not where the gradient points.
BLIND = {"noise-10", "square"}
# The only random numbers of FAB-T are those of second restarts.
DETERMINISTIC = {"fab-t"}
EPS = {"linf": 2 / 255, "l2": 0.1}


@NORMS
@EVERY
def test_agrees_with_the_exact_robustness_of_a_hyperplane(hyperplane, quick, name, norm):
    problem = hyperplane()
    attack = quick(name, ThreatModel(norm, EPS[norm]))
    found = attack(problem.classifier, problem.images, problem.labels, problem.ids)
    fallen = problem.classifier(found).argmax(-1) != problem.labels
    reach = EPS[norm] * problem.dual[norm]
    assert not fallen[problem.margins > reach * 1.0001].any()
    assert 20 < (problem.margins < reach * 0.9).sum() < 80
    if name in BLIND:
        assert fallen.sum() > 0
    else:
        assert fallen[problem.margins < reach * 0.9].all()


@NORMS
@EVERY
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(eps=st.floats(0, 0.5), seed=st.integers(0, 9))
def test_stays_inside_the_threat_model(of_classes, quick, name, norm, eps, seed):
    model, images, labels, ids = of_classes(5, n=6)
    eps = 6 * eps if norm == "l2" else eps
    # Black, white and everything between: the pixel range binds.
    images = (images * 2 - 0.5).clamp(0, 1)
    found = quick(name, ThreatModel(norm, eps), seed=seed)(model, images, labels, ids)
    change = (found.double() - images.double()).flatten(1)
    length = change.abs().amax(1) if norm == "linf" else change.square().sum(1).sqrt()
    assert length.max() <= eps + 1e-6 * max(1, eps)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found.requires_grad
    assert found.shape == images.shape


@EVERY
def test_the_model_is_left_as_it_was_found(of_classes, quick, name):
    model, images, labels, ids = of_classes(5)
    model.train()
    model.encoder.body[2].eval()
    model.encoder.body[3].bias.requires_grad_(False)
    model.encoder.body[2].weight.grad = torch.ones(8, 12)
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    given_images = images.clone().requires_grad_(True)
    torch.manual_seed(5)
    random_state = torch.random.get_rng_state()

    found = quick(name, ThreatModel(eps=8 / 255))(model, given_images, labels, ids)

    assert [module.training for module in model.modules()] == modes
    trainable = {key: value.requires_grad for key, value in model.named_parameters()}
    wanted = dict.fromkeys(trainable, True) | {"encoder.body.3.bias": False}
    assert trainable == wanted
    assert torch.equal(model.encoder.body[2].weight.grad, torch.ones(8, 12))
    assert model.encoder.body[3].weight.grad is None
    assert given_images.grad is None
    assert torch.equal(given_images, images)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert not found.requires_grad


@EVERY
def test_nan_weights_raise_and_the_model_is_restored(of_classes, quick, name):
    model, images, labels, ids = of_classes(5)
    model.train()
    with torch.no_grad():
        model.encoder.body[2].weight[0, 0] = float("nan")
    with pytest.raises(RunError, match="is NaN"):
        quick(name, ThreatModel())(model, images, labels, ids)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", [*EXAMPLES, "noise-3+pgd-3-dlr"])
def test_results_are_batch_independent_or_chunked(of_classes, quick, name):
    model, images, labels, ids = of_classes(5)
    attack = quick(name, ThreatModel(eps=4 / 255))
    whole = attack(model, images, labels, ids)
    order = [5, 2, 7]
    some = attack(model, images[order], labels[order], [ids[index] for index in order])
    if attack.chunk is None:
        torch.testing.assert_close(some, whole[order], atol=1e-6, rtol=0)
    else:
        assert attack.chunk == 100
        assert attack.describe()["chunk"] == 100


@EVERY
def test_depends_on_its_seed_and_on_no_other_random_state(of_classes, quick, name):
    model, images, labels, ids = of_classes(5)
    # In l2 the way from the start to the edge leaves a trace; in linf all may end in one corner.
    threat = ThreatModel("l2", 0.5)
    torch.manual_seed(1)
    first = quick(name, threat)(model, images, labels, ids)
    quick(name, threat)(model, images[:5], labels[:5], ids[:5])
    torch.manual_seed(2)
    again = quick(name, threat)(model, images, labels, ids)
    assert torch.equal(first, again)
    if name in DETERMINISTIC:
        return
    assert not torch.equal(first, quick(name, threat, seed=1)(model, images, labels, ids))


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 12])
@EVERY
def test_few_classes_get_what_is_defined_for_them(of_classes, quick, name, classes):
    model, images, labels, ids = of_classes(classes)
    asked = quick(name, ThreatModel(eps=0.2))
    attack, note = asked.for_classes(classes)
    needed = {"pgd-10-dlr": 3, "apgd-dlr": 3, "apgd-t": 4, "apgd-t-early": 4}.get(name, 2)
    assert (attack is None) == (classes < needed)
    if attack is None:
        assert note == f"{name} left out: it needs {needed} classes, here {classes}"
        return
    assert (attack == asked) == (note == "")
    found = attack(model, images, labels, ids)
    if name not in BLIND:
        # A fifth of the range undoes the mean colours that the model goes by.
        assert (model(found).argmax(-1) != labels).sum() >= 9


@EVERY
def test_one_class_cannot_be_attacked(quick, name):
    attack, note = quick(name, ThreatModel()).for_classes(1)
    assert attack is None
    needed = {"pgd-10-dlr": 3, "apgd-dlr": 3, "apgd-t": 4, "apgd-t-early": 4}.get(name, 2)
    assert note == f"{name} left out: it needs {needed} classes, here 1"


def test_what_is_capped_or_left_out_is_said():
    threat = ThreatModel()

    def notes(name, classes):
        attack, note = make_attack(name, threat).for_classes(classes)
        parts = [part.name for part in attack.parts] if isinstance(attack, Ensemble) else None
        return parts, note

    assert notes("pgd-10", 2) == (None, "")
    assert notes("pgd-10-targeted", 4) == (None, "pgd-10-targeted with 3 of 9 target classes")
    assert notes("apgd-t", 10) == (None, "")
    assert notes("eot-5(fab-t)", 4) == (None, "eot-5(fab-t) with 3 of 9 target classes")
    assert notes("bpda(autoattack)", 2) == (
        None,
        "bpda(autoattack): apgd-t left out: it needs 4 classes, here 2; "
        "fab-t with 1 of 9 target classes",
    )
    assert notes("autoattack", 10) == (["apgd-ce", "apgd-t", "fab-t", "square"], "")
    assert notes("autoattack", 3) == (
        ["apgd-ce", "apgd-dlr", "fab-t", "square"],
        "apgd-t replaced by apgd-dlr: it needs 4 classes, here 3; fab-t with 2 of 9 target classes",
    )
    assert notes("autoattack", 2) == (
        ["apgd-ce", "fab-t", "square"],
        "apgd-t left out: it needs 4 classes, here 2; fab-t with 1 of 9 target classes",
    )
    assert notes("apgd-dlr+apgd-t", 3) == (
        ["apgd-dlr"],
        "apgd-t left out: it needs 4 classes, here 3",
    )
    assert make_attack("apgd-dlr+apgd-t", threat).for_classes(2)[0] is None
    capped, _ = make_attack("fab-t", threat).for_classes(5)
    assert capped.describe()["n_target_classes"] == 4


@EVERY
def test_describes_every_parameter_in_json(of_classes, quick, name):
    attack = quick(name, ThreatModel("l2", 0.5), seed=7)
    text = json.dumps(attack.describe(), sort_keys=True)
    assert attack.describe()["name"] == attack.name == name
    for other in (
        quick(name, ThreatModel("l2", 0.25), seed=7),
        quick(name, ThreatModel("linf", 0.5), seed=7),
        quick(name, ThreatModel("l2", 0.5), seed=8),
    ):
        assert json.dumps(other.describe(), sort_keys=True) != text


def test_transfer_tries_one_model_s_images_on_another(of_classes, quick):
    model, images, labels, ids = of_classes(5)
    surrogate, *_ = of_classes(5)
    with torch.no_grad():
        surrogate.encoder.body[2].weight.add_(0.05)
    inner = quick("pgd-10-targeted", ThreatModel(eps=4 / 255))
    attack = Transfer(inner, surrogate, "other")
    assert attack.name == "transfer(pgd-10-targeted, other)"
    found = attack(model, images, labels, ids)
    assert torch.equal(found, inner(surrogate, images, labels, ids))
    assert not torch.equal(found, inner(model, images, labels, ids))
    assert Transfer(quick("square", inner.threat), surrogate, "other").chunk == 100

    text = json.dumps(attack.describe())
    assert text == json.dumps(replace(attack).describe())
    with torch.no_grad():
        surrogate.encoder.body[2].weight[0, 0] += 0.01
    assert text != json.dumps(replace(attack).describe()), "other weights, other attack"

    fitted, note = attack.for_classes(3)
    assert fitted.attack.targets == 2
    assert note == f"{attack.name} with 2 of 9 target classes"
    assert Transfer(quick("apgd-t", inner.threat), surrogate, "other").for_classes(3)[0] is None
    with pytest.raises(RequestError, match="other classes"):
        attack(of_classes(4)[0], images, labels.clamp_max(3), ids)
