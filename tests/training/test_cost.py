import pytest

from zsrobust.config.schema import FinetuneConfig, TrainingAttack
from zsrobust.objectives import objective_class
from zsrobust.training.cost import passes_per_step, steps_for


def config(method, attack_steps=2, **options):
    return FinetuneConfig(
        model="m",
        data="d",
        method=method,
        objective=objective_class(method)(**options),
        attack=TrainingAttack(steps=attack_steps),
    )


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        # Attack (a forward and an input gradient a step), student (a forward and two gradients a
        # view), original (a forward a view).
        (config("pmg_aft"), 2 * 2 + 2 * 3 + 1),
        (config("pmg_aft", alpha=0.0), 2 * 2 + 2 * 3),
        (config("pmg_aft", alpha=0.0, beta=0.0), 2 * 2 + 3),
        (config("pmg_aft", images="clean"), 3 + 1),
        (config("tecoa"), 2 * 2 + 3),
        (config("tecoa", attack_steps=10), 2 * 10 + 3),
        (config("ft_clean"), 3),
        (config("fare", attack_steps=10), 2 * 10 + 3 + 1),
        (config("trades"), 1 + 2 * 2 + 2 * 3),
        (config("sim_clip"), 1 + 2 * 2 + 2 * 3),
        (config("sim_clip", preset="authors_code"), 2 * 2 + 3 + 1),
        (config("sum", attack_on="none"), 3),
    ],
)
def test_passes_of_a_step(asked, passes):
    assert passes_per_step(asked) == passes


def test_passes_buy_whole_steps():
    assert steps_for(2100, config("tecoa")) == 300
    assert steps_for(2100, config("pmg_aft")) == 190
    assert steps_for(1, config("pmg_aft")) == 1
