import pytest
import torch

from zsrobust.training.encoder import Student


@pytest.fixture
def student(classifier):
    def make(**options):
        model = classifier()
        return Student(model.encoder, model.preprocessing, **options).train()

    return make


def test_one_pass_equals_a_pass_for_each_view(student, samples):
    clean, _, _ = samples(5)
    adversarial = (clean + 0.03).clamp(0, 1)
    ours, theirs = student(), student()
    both, tokens = ours({"adversarial": adversarial, "clean": clean})
    assert tokens == {}, "a convolutional tower has none, and none were asked for"
    apart = {
        "adversarial": theirs.encoder(adversarial),
        "clean": theirs.encoder(clean),
    }
    for view, expected in apart.items():
        torch.testing.assert_close(both[view], expected)
    sum((both[view] * (1 + i)).square().sum() for i, view in enumerate(apart)).backward()
    sum((apart[view] * (1 + i)).square().sum() for i, view in enumerate(apart)).backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_batch_norm_is_frozen_unless_asked_for(student, samples):
    images, _, _ = samples(5)
    frozen, moving = student(), student(train_batch_norm=True)
    before = frozen.encoder.body[1].running_mean.clone()
    alone = frozen({"clean": images[:1]})[0]["clean"]
    torch.testing.assert_close(frozen({"clean": images})[0]["clean"][:1], alone)
    assert torch.equal(frozen.encoder.body[1].running_mean, before)
    moving({"clean": images})
    assert not torch.equal(moving.encoder.body[1].running_mean, before)
    assert frozen.encoder.body[0].training, "only BatchNorm stays in evaluation mode"


def test_views_do_not_share_batch_statistics(student, samples):
    images, _, _ = samples(5)
    dark = images * 0.1
    both, _ = student(train_batch_norm=True)({"adversarial": dark, "clean": images})
    alone, _ = student(train_batch_norm=True)({"clean": images})
    torch.testing.assert_close(both["clean"], alone["clean"])
