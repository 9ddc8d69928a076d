import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.serve.attack import Settings, attack
from zsrobust.utils.units import Eps


def quiet(step):
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


def test_every_iterate_is_seen_from_the_random_start_to_the_result(classifier, samples):
    model = classifier().eval()
    images, labels, ids = samples(1)
    seen = []
    settings = Settings(Eps("4/255"), 9)
    result = attack(model, images, int(labels), settings, ids[0], seen.append)
    assert [step.taken for step in seen] == list(range(10))
    assert torch.equal(seen[-1].image, result[0])
    assert len({step.image.numpy().tobytes() for step in seen}) == 10
    for step in seen:
        assert (step.image - images[0]).abs().max() <= 4 / 255 + 1e-6
        with torch.no_grad():
            expected = model(step.image[None]).softmax(-1)[0]
        torch.testing.assert_close(step.probabilities, expected)
        assert step.loss == pytest.approx(-float(expected[labels].log()), rel=1e-4)
    assert seen[-1].loss > seen[0].loss


def test_what_is_raised_at_a_step_ends_it_and_the_model_is_as_before(classifier, samples):
    model = classifier()
    images, labels, ids = samples(1)

    def stop(step):
        if step.taken == 2:
            raise LookupError

    with pytest.raises(LookupError):
        attack(model, images, int(labels), Settings(Eps("4/255"), 50), ids[0], stop)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_no_radius_leaves_the_image_as_it_is(classifier, samples):
    images, labels, ids = samples(1)
    same = attack(classifier(), images, int(labels), Settings(Eps(0), 3), ids[0], quiet)
    assert torch.equal(same, images)
