from dataclasses import replace

import pytest

from zsrobust.config.schema import FinetuneConfig, TrainingAttack
from zsrobust.objectives import objective_class
from zsrobust.training.cost import passes_of_run, passes_per_step, steps_for


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
        (config("hpt"), 2 * 2 + 3 + 1 + 1),
        (config("hpt", alpha=0.0), 2 * 2 + 3 + 1),
        (config("lore"), 2 * 2 + 2 * 3 + 1),
    ],
)
def test_passes_of_a_step(asked, passes):
    assert passes_per_step(asked) == passes


def test_passes_buy_whole_steps():
    assert steps_for(2100, config("tecoa")) == 300
    assert steps_for(2100, config("pmg_aft")) == 190
    assert steps_for(1, config("pmg_aft")) == 1


def test_passes_of_a_run_without_held_out_images():
    """Ten epochs of 100,000 images, with and without the 160 of the last of 391 batches."""
    asked = replace(config("pmg_aft"), hold_out=0, drop_last=False)
    assert passes_of_run(asked, 100_000) == 10 * 100_000 * 11
    assert passes_of_run(replace(asked, drop_last=True), 100_000) == 10 * 390 * 256 * 11
    assert passes_of_run(replace(asked, steps=392), 100_000) == (100_000 + 256) * 11
    assert passes_of_run(asked, 100) == 10 * 100 * 11
