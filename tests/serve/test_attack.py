import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.serve.attack import Settings, attack
from zsrobust.utils.units import Eps


def quiet(taken, loss):
    pass


@pytest.mark.parametrize("steps", [1, 7])
def test_it_is_the_pgd_of_an_evaluation(classifier, samples, steps):
    model = classifier()
    images, labels, ids = samples(1)
    settings = Settings(Eps("8/255"), steps)
    ours = attack(model, images, int(labels), settings, ids[0], quiet)
    theirs = PGD(ThreatModel(eps=8 / 255), steps=steps)
    torch.testing.assert_close(ours, theirs(model, images, labels, ids), rtol=0, atol=0)
    assert settings.name == theirs.name
    assert settings.step_size == pytest.approx(theirs.resolved_step_size)


def test_with_a_target_it_is_the_targeted_pgd_towards_that_class(classifier, samples):
    model = classifier().eval()
    images, labels, ids = samples(1)
    with torch.no_grad():
        logits = model(images)[0]
    logits[labels] = -torch.inf
    target = int(logits.argmax())
    settings = Settings(Eps("8/255"), 6, target)
    ours = attack(model, images, int(labels), settings, ids[0], quiet)
    theirs = PGD(ThreatModel(eps=8 / 255), steps=6, loss="targeted", targets=1)
    torch.testing.assert_close(ours, theirs(model, images, labels, ids), rtol=0, atol=0)
    assert settings.name == theirs.name
    with torch.no_grad():
        before, after = (model(x).softmax(-1)[0, target] for x in (images, ours))
    assert after > before


def test_progress_of_every_step_and_the_final_loss(classifier, samples):
    images, labels, ids = samples(1)
    told = []
    attack(
        classifier(),
        images,
        int(labels),
        Settings(Eps("4/255"), 9),
        ids[0],
        lambda taken, loss: told.append((taken, loss)),
    )
    assert [taken for taken, _ in told] == list(range(9))
    assert told[-1][1] > told[0][1]


def test_what_is_raised_at_a_step_ends_it_and_the_model_is_as_before(classifier, samples):
    model = classifier()
    images, labels, ids = samples(1)

    def stop(taken, loss):
        if taken == 2:
            raise LookupError

    with pytest.raises(LookupError):
        attack(model, images, int(labels), Settings(Eps("4/255"), 50), ids[0], stop)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_no_radius_leaves_the_image_as_it_is(classifier, samples):
    images, labels, ids = samples(1)
    same = attack(classifier(), images, int(labels), Settings(Eps(0), 3), ids[0], quiet)
    assert torch.equal(same, images)
