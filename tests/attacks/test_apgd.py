"""Auto-PGD against its paper, sample by sample, and what stopping early saves."""

import math

import pytest
import torch
from torch import nn

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.attacks.apgd import apgd_until_wrong, checkpoints
from zsrobust.attacks.losses import cross_entropy, dlr_towards
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError
from zsrobust.utils.noise import uniform_noise


@pytest.mark.parametrize("steps", [100, 37, 12])
def test_the_checkpoints_are_those_of_the_paper(steps):
    """w_j = p_j N, p_0 = 0, p_1 = 0.22, p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)."""
    if steps == 100:
        places = [0.0, 0.22]
        while (further := places[-1] + max(places[-1] - places[-2] - 0.03, 0.06)) <= 1:
            places.append(further)
        assert checkpoints(steps) == [math.ceil(round(100 * place, 6)) for place in places[1:]]
    found = checkpoints(steps)
    assert found == sorted(set(found))
    assert 0 < found[0] <= found[-1] <= steps


def written_out(logits_of, image, label, aim, eps, steps, noise, loss_of):
    """Algorithm 1 in L-inf for one image, in plain words; the verdict stops it."""

    def project(x):
        return torch.clamp(torch.clamp(x, image - eps, image + eps), 0, 1)

    def evaluate(x):
        x = x.clone().requires_grad_(True)
        logits = logits_of(x[None])
        loss = loss_of(logits, torch.tensor([label]), torch.tensor([aim]))[0]
        (gradient,) = torch.autograd.grad(loss, x)
        return float(loss.detach()), gradient, int(logits.argmax()) != label

    points = [project(image + eps * noise)]
    losses, gradients = [], []

    def seen(x):
        loss, gradient, wrong = evaluate(x)
        losses.append(loss)
        gradients.append(gradient)
        return wrong

    if seen(points[0]):
        return points[0], True
    best, eta = 0, 2 * eps
    x, gradient, previous = points[0], gradients[0], points[0]
    loss_now, rises, since = losses[0], 0, 0
    best_then, halved = losses[0], True
    for k in range(steps):
        z = project(x + eta * gradient.sign())
        new = z if k == 0 else project(x + 0.75 * (z - x) + 0.25 * (x - previous))
        previous, x = x, new
        points.append(new)
        if seen(new):
            return new, True
        rises += losses[-1] > loss_now
        loss_now, gradient = losses[-1], gradients[-1]
        if losses[-1] > losses[best]:
            best = len(losses) - 1
        if k + 1 in checkpoints(steps):
            halve = rises < 0.75 * (k + 1 - since) or (not halved and losses[best] <= best_then)
            if halve:
                eta, x, gradient, loss_now = eta / 2, points[best], gradients[best], losses[best]
            halved, best_then, rises, since = halve, losses[best], 0, k + 1
    return points[best], False


@pytest.mark.parametrize("eps", [0.004, 0.02])
def test_is_the_papers_algorithm(of_classes, eps):
    model, images, labels, ids = of_classes(6, n=12)
    model, images = model.double().eval(), images.double()
    noise = uniform_noise(images, ids, seed=0, purpose="test")
    aims = (labels + 1) % 6
    for loss_of in (lambda z, y, _: cross_entropy(z, y), dlr_towards):
        found = apgd_until_wrong(
            model, loss_of, images, labels, aims, ThreatModel(eps=eps), steps=30, noise=noise
        )
        falls = 0
        for row in range(len(images)):
            expected, fell = written_out(
                model,
                images[row],
                int(labels[row]),
                int(aims[row]),
                eps,
                30,
                noise[row],
                loss_of,
            )
            falls += fell
            torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-9)
        assert falls < len(images)


def test_targeted_dlr_is_its_formula():
    logits = torch.tensor([[3.0, 1.0, 0.5, -1.0, 2.0]])
    found = dlr_towards(logits, torch.tensor([0]), torch.tensor([2]))
    # -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)
    assert float(found) == pytest.approx(-(3 - 0.5) / (3 - (1 + 0.5) / 2))
    with pytest.raises(RequestError, match="4 classes or more"):
        dlr_towards(logits[:, :3], torch.tensor([0]), torch.tensor([1]))


class Counting(nn.Module):
    """Passes images through and counts them."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, 0

    def forward(self, images):
        self.seen += len(images)
        return self.inner(images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("early", "whole"), [("apgd-ce-early", "apgd-ce"), ("apgd-t-early", "apgd-t")]
)
def test_same_verdicts_as_the_library_for_fewer_images_seen(of_classes, early, whole):
    model, images, labels, ids = of_classes(8, n=50)
    seen, standing = {}, {}
    for name in (early, whole):
        counting = Counting(model.encoder)
        counted = ZeroShotClassifier.from_parts(
            counting,
            model.class_embeddings,
            model.class_names,
            preprocessing=model.preprocessing,
            logit_scale=model.logit_scale,
        ).eval()
        found = make_attack(name, ThreatModel(eps=0.02))(counted, images, labels, ids)
        seen[name] = counting.seen
        with torch.no_grad():
            standing[name] = counted(found).argmax(-1) == labels
    fallen = int((~standing[whole]).sum())
    assert fallen > 10
    assert int((standing[early] != standing[whole]).sum()) <= 1
    assert seen[early] < seen[whole]


def test_what_falls_at_once_costs_next_to_nothing():
    """So near the boundary that one step crosses it."""
    counting = Counting(nn.Flatten())
    classifier = ZeroShotClassifier.from_parts(counting, torch.eye(2, 12), ["a", "b"])
    images = torch.full((5, 3, 2, 2), 0.5)
    images[:, 0, 0, 1] += 1e-4
    seen = {}
    for name in ("apgd-ce-early", "apgd-ce"):
        counting.seen = 0
        attack = make_attack(name, ThreatModel(eps=1 / 255))
        attack(classifier, images, torch.ones(5, dtype=torch.long), list("abcde"))
        seen[name] = counting.seen
    # The start, one step, and a last forward of the result, against a hundred steps.
    assert seen["apgd-ce-early"] <= 3 * 5
    assert seen["apgd-ce"] > 100 * 5


def test_an_ensemble_that_stops_early():
    threat = ThreatModel(eps=1 / 255)
    names = [part.name for part in make_attack("autoattack-early", threat).parts]
    assert names == ["apgd-ce-early", "apgd-t-early", "fab-t", "square"]
    assert make_attack("autoattack-early", threat).name == "autoattack-early"
