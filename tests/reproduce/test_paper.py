"""The paper's own experiment: what it would consist of."""

import pytest

from zsrobust.reproduce.paper import (
    MODEL,
    RECIPES,
    SAMPLES,
    Paper,
    forward_operations,
    plan_in_words,
)
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow


def vit_b_32_operations(size=224, patch=32, width=768, layers=12, embed=512):
    """Multiplications and additions of a ViT, counted by hand."""
    tokens = (size // patch) ** 2 + 1
    stem = (tokens - 1) * 3 * patch * patch * width
    projections = tokens * width * (3 * width + width + 2 * 4 * width)
    attention = 2 * tokens * tokens * width
    return 2 * (stem + layers * (projections + attention) + width * embed)


def test_operations_of_a_forward_pass():
    assert forward_operations() == pytest.approx(vit_b_32_operations(), rel=0.02)


def test_recipes_are_the_authors(tmp_path):
    recipes = Paper(tmp_path, tmp_path / "out").recipes
    assert list(recipes) == list(RECIPES)
    for config in recipes.values():
        assert config.model == MODEL
        # Ten passes over 95,000 of TinyImageNet's images, 256 at a time.
        assert config.steps == 10 * (95_000 // 256)
        assert config.batch_size == 256
    assert recipes["tecoa"].optimizer.lr == 1e-5
    assert recipes["pmg_aft_paper"].optimizer.lr == 5e-5
    assert recipes["pmg_aft_paper"].attack.eps == Eps("1/255")
    stages = Paper(tmp_path, tmp_path / "out").stages()
    assert stages["equal-steps"].sweep.evaluation.samples is None
    assert stages["autoattack"].sweep.evaluation.samples == SAMPLES


def test_the_plan_names_what_is_missing_and_what_it_costs(tmp_path):
    for part in ("tiny-imagenet-200/train", "tiny-imagenet-200/val"):
        (tmp_path / part).mkdir(parents=True)
    text = "\n".join(plan_in_words(Paper(tmp_path, tmp_path / "out")))
    assert f"missing: {MODEL}" in text
    assert "missing: tiny-imagenet" not in text
    assert "missing: cifar10, 0.17 GB: zsrobust data prepare cifar10" in text
    assert "missing: imagenet, 6.7 GB (needs an account)" in text
    # PMG-AFT: 3710 steps of 256 images, 11 passes each.
    expected = 3710 * 256 * 11 * vit_b_32_operations() / 1e15
    line = next(line for line in text.splitlines() if line.startswith("fine-tuning pmg_aft_paper:"))
    assert float(line.split()[-2]) == pytest.approx(expected, rel=0.02)
    assert "sustained" in text
