"""pyautoattack's attacks: its own parameters, and none of its habits."""

import logging

import pytest
import torch
from torch import nn

from zsrobust.attacks import LibraryAttack, ThreatModel, make_attack
from zsrobust.attacks.library import STANDARD
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError

EVERY = pytest.mark.parametrize("name", STANDARD)
# Set anew for each attack that AutoAttack runs, or nothing that decides a result.
SET_BY_THE_RUN = {
    "model",
    "predict",
    "logger",
    "seed",
    "device",
    "loss",
    "targeted",
    "target_class",
}


@EVERY
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_parameters_are_those_of_autoattack_standard(of_classes, name, norm):
    from pyautoattack import AutoAttack

    model, *_ = of_classes(12)
    library = {"linf": "Linf", "l2": "L2"}[norm]
    theirs = AutoAttack(model, norm=library, eps=0.03, seed=0, version="standard")
    reference = {
        "apgd-ce": theirs.apgd,
        "apgd-dlr": theirs.apgd,
        "apgd-t": theirs.apgd_targeted,
        "fab-t": theirs.fab,
        "square": theirs.square,
    }[name]
    ours = LibraryAttack(name, ThreatModel(norm, 0.03))._perturb(model, 0, 12).__self__
    assert type(ours) is type(reference)
    expected = {key: vars(reference)[key] for key in vars(reference).keys() - SET_BY_THE_RUN}
    assert {key: vars(ours)[key] for key in vars(ours).keys() - SET_BY_THE_RUN} == expected
    wanted = {"apgd-ce": "ce", "apgd-dlr": "dlr", "apgd-t": "dlr-targeted", "square": "margin"}
    assert getattr(ours, "loss", None) == wanted.get(name)
    assert name != "fab-t" or ours.targeted


@pytest.mark.slow
def test_autoattack_leaves_standing_what_the_library_run_whole_leaves(of_classes, quick):
    from pyautoattack import AutoAttack

    model, images, labels, ids = of_classes(12, n=60)
    theirs = AutoAttack(model, eps=0.01, seed=0, version="standard")
    theirs.logger = logging.Logger("quiet", level=100)
    theirs.square.n_queries = 60
    with torch.random.fork_rng():
        found, _ = theirs.run_standard_evaluation(images, labels)
    # With all iterations: three white-box attacks at full strength agree on every sample.
    attack = make_attack("apgd-ce+apgd-t+fab-t", ThreatModel(eps=0.01))
    ours = model(attack(model, images, labels, ids)).argmax(-1) == labels
    assert torch.equal(ours, model(found).argmax(-1) == labels)
    assert 10 < ours.sum() < 50


@EVERY
def test_what_it_cannot_fool_comes_back_clean(hyperplane, quick, name):
    problem, eps = hyperplane(), 2 / 255
    found = quick(name, ThreatModel(eps=eps))(
        problem.classifier, problem.images, problem.labels, problem.ids
    )
    beyond = problem.margins > 1.001 * eps * problem.dual["linf"]
    assert beyond.sum() > 10
    assert torch.equal(found[beyond], problem.images[beyond])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_left_the_threat_model_counts_as_not_attacked(monkeypatch, of_classes, norm):
    model, images, labels, ids = of_classes(5)
    eps = 0.1
    found = images.clone()
    found[0, 0, 0, 0] = float("nan")
    found[1, 0, 0, 0] += 2 * eps
    found[2, 0, 0, 0] = images[2, 0, 0, 0] + (eps / 2 if images[2, 0, 0, 0] < 0.5 else -eps / 2)
    monkeypatch.setattr(LibraryAttack, "_perturb", lambda *_: lambda *_: found)
    found_alone = LibraryAttack("fab-t", ThreatModel(norm, eps))(model, images, labels, ids)
    assert torch.equal(found_alone[:2], images[:2])
    assert torch.equal(found_alone[2:], found[2:])
    assert not torch.equal(found_alone[2], images[2])


class Rounded(nn.Module):
    """A step function: no gradient anywhere."""

    def forward(self, images):
        return (images * 4).round().flatten(1) - 2 + 0 * images.flatten(1)


@EVERY
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_zero_gradients_give_images_and_no_output(quick, capfd, caplog, recwarn, name, norm):
    vectors = torch.randn(5, 108, generator=torch.Generator().manual_seed(0))
    model = ZeroShotClassifier.from_parts(Rounded(), vectors, list("abcde"))
    images = torch.rand(12, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    labels = model(images).argmax(-1)
    eps = {"linf": 0.05, "l2": 0.5}[norm]
    threat = ThreatModel(norm, eps)
    with caplog.at_level(logging.DEBUG):
        found = quick(name, threat)(model, images, labels, [str(index) for index in range(12)])
    assert found.isfinite().all()
    assert (threat.distance(images, found) <= eps + 1e-6).all()
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert not list(recwarn)


def test_square_writes_into_no_logits_of_the_classifier(of_classes, quick):
    model, images, labels, ids = of_classes(5)
    outputs = []
    model.register_forward_hook(lambda module, inputs, logits: outputs.append(logits))
    quick("square", ThreatModel(eps=0.01))(model, images, labels, ids)
    assert len(outputs) > 10
    assert all(logits.isfinite().all() for logits in outputs)


@EVERY
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_takes_images_in_any_memory_layout(of_classes, quick, name, norm):
    model, images, labels, ids = of_classes(5)
    attack = quick(name, ThreatModel(norm, 0.02))
    plain = attack(model, images, labels, ids)
    turned = attack(model, images.contiguous(memory_format=torch.channels_last), labels, ids)
    torch.testing.assert_close(turned, plain)


def test_draws_by_the_ids_of_its_samples(of_classes, quick):
    model, images, labels, ids = of_classes(5)
    attack = quick("square", ThreatModel(eps=0.05))
    first = attack(model, images, labels, ids)
    other = attack(model, images, labels, [*ids[:-1], "another"])
    assert not torch.equal(first, other)
    assert attack(model, images[:0], labels[:0], []).shape == (0, 3, 6, 6)


def test_what_it_cannot_do_is_refused(of_classes):
    model, images, labels, ids = of_classes(3)
    small = torch.rand(12, 3, 4, 9)
    with pytest.raises(RequestError, match=r"samples is 12: must be at most 5, those of one chunk"):
        LibraryAttack("square", ThreatModel(), chunk=5)(model, images, labels, ids)
    with pytest.raises(RequestError, match=r"apgd-t: number of classes is 3: must be 4 or more"):
        make_attack("apgd-t", ThreatModel())(model, images, labels, ids)
    with pytest.raises(RequestError, match="at least 5 x 5 pixels"):
        make_attack("square", ThreatModel("l2"))(model, small, labels, ids)
    with pytest.raises(RequestError, match="bounds is"):
        make_attack("fab-t", ThreatModel(bounds=(-1, 1)))
    with pytest.raises(RequestError, match="attack is 'deepfool'"):
        LibraryAttack("deepfool", ThreatModel())
    with pytest.raises(RequestError, match=r"attack\.chunk is 0"):
        LibraryAttack("square", ThreatModel(), chunk=0)


def test_autoattack_with_fewer_iterations_has_every_part():
    full, short = (make_attack(name, ThreatModel()) for name in ("autoattack", "autoattack-2"))
    assert make_attack("autoattack-100", ThreatModel()).parts == full.parts
    assert [part.name for part in short.parts] == [part.name for part in full.parts]
    # Two passes for the clean images and, for each of one or nine starts: APGD a gradient at the
    # start and at each iteration, with targets a pass to choose them; FAB three passes an iteration
    # and three around them; Square a pass a query, two around them.
    assert [p.passes for p in short.parts] == [2 + 6, 2 + 9 * 7, 2 + 9 * 9, 2 + 102]
    for name in ("autoattack-0", "autoattack-x", "autoattack-10000"):
        with pytest.raises(RequestError, match="there is no attack"):
            make_attack(name, ThreatModel())
