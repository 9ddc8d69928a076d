"""LORE against its formula in NumPy float64, and its gradients against differences."""

import numpy as np
import pytest
import torch

from zsrobust.objectives import LORE
from zsrobust.utils.errors import RequestError

GLOBAL = 10


def multipliers(weights, embeddings):
    """Two layers and a Softplus."""
    hidden = np.maximum(embeddings @ weights["0.weight"].T + weights["0.bias"], 0)
    return np.log1p(np.exp(hidden @ weights["2.weight"].T + weights["2.bias"]))[:, 0]


def parts_of(views, weights, rho):
    clean = views["teacher_clean"]
    length = (clean**2).sum(1)
    distance = ((views["student_adversarial"] - clean) ** 2).sum(1)
    moved = ((views["student_clean"] - clean) ** 2).sum(1)
    factor = multipliers(weights, clean)
    return {
        "total": distance + factor * (moved - rho * length),
        "distance": distance,
        "deviation": moved / length,
        "multiplier": factor,
    }


def test_loss_and_gradients(case, computed, differences):
    model, views, labels = case
    objective = LORE(rho=0.3, width=4)
    head = objective.head(6, 5, seed=2)
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}

    def loss(at):
        return parts_of(at, {**weights, **at}, 0.3)["total"].sum() / GLOBAL

    found, gradients = computed(objective, model, views, labels, head=head)
    expected = parts_of(views, weights, 0.3)
    assert found == {
        name: pytest.approx(value.sum() / GLOBAL, rel=1e-5) for name, value in expected.items()
    }
    assert gradients.keys() == {"student_adversarial", "student_clean"}
    for name, value in head.named_parameters():
        gradients[name] = value.grad
    for name, gradient in gradients.items():
        np.testing.assert_allclose(
            gradient.numpy(),
            differences(loss, {**views, **weights}, name),
            rtol=2e-3,
            atol=1e-4,
            err_msg=name,
        )


def test_the_multipliers_are_those_of_the_seed_and_positive():
    head = LORE().head(6, 5, seed=4)
    assert [tuple(part.shape) for part in head.parameters()] == [(512, 6), (512,), (1, 512), (1,)]
    again, other = LORE().head(6, 5, seed=4), LORE().head(6, 5, seed=5)
    assert torch.equal(again[0].weight, head[0].weight)
    assert not torch.equal(other[0].weight, head[0].weight)
    assert (head(10 * torch.randn(50, 6)) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rho": -0.1}, "objective.rho is -0.1: must be 0 or more"),
        ({"dual_lr": 0.0}, "objective.dual_lr is 0.0: must be above 0"),
        ({"primal_steps": 0}, "objective.primal_steps is 0: must be 1 or more"),
        ({"width": 0}, "objective.width is 0: must be 1 or more"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(RequestError, match=message):
        LORE(**options)
