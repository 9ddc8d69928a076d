"""The paper's own experiment: what it would consist of."""

import pytest

from zsrobust.sweep.dry_run import dry_run, forward_operations
from zsrobust.sweep.plan_file import load_study, plan_path
from zsrobust.utils.units import Eps

MODEL = "ViT-B-32/openai"

pytestmark = pytest.mark.slow


def vit_b_32_operations(size=224, patch=32, width=768, layers=12, embed=512):
    """Multiplications and additions of a ViT, counted by hand."""
    tokens = (size // patch) ** 2 + 1
    stem = (tokens - 1) * 3 * patch * patch * width
    projections = tokens * width * (3 * width + width + 2 * 4 * width)
    attention = 2 * tokens * tokens * width
    return 2 * (stem + layers * (projections + attention) + width * embed)


def test_operations_of_a_forward_pass():
    assert forward_operations(MODEL) == pytest.approx(vit_b_32_operations(), rel=0.02)


def test_recipes_are_the_authors(tmp_path):
    study = load_study(plan_path("paper"), tmp_path / "out", tmp_path, partial=True)
    stages = study.stages()
    recipes = stages["equal-steps"].sweep.recipes
    for config in recipes.values():
        assert config.model == MODEL
        # Ten passes over 95,000 of TinyImageNet's images, 256 at a time.
        assert config.steps == 10 * (95_000 // 256)
        assert config.batch_size == 256
    assert recipes["tecoa"].optimizer.lr == 1e-5
    assert recipes["pmg_aft_paper"].optimizer.lr == 5e-5
    assert recipes["pmg_aft_paper"].attack.eps == Eps("1/255")
    assert stages["equal-steps"].sweep.evaluation.samples is None
    assert stages["autoattack"].sweep.evaluation.samples == 1000


def test_the_plan_names_what_is_missing_and_what_it_costs(tmp_path):
    for part in ("tiny-imagenet-200/train", "tiny-imagenet-200/val"):
        (tmp_path / part).mkdir(parents=True)
    study = load_study(plan_path("paper"), tmp_path / "out", tmp_path, partial=True)
    text = "\n".join(dry_run(study, tmp_path))
    assert f"missing: {MODEL}" in text
    assert "missing: tiny-imagenet" not in text
    assert "missing: cifar10, 0.17 GB: zsrobust data prepare cifar10" in text
    assert "missing: imagenet, 6.7 GB (needs an account)" in text
    # PMG-AFT: 3710 steps of 256 images, 11 passes each.
    expected = 3710 * 256 * 11 * vit_b_32_operations() / 1e15
    line = next(line for line in text.splitlines() if line.startswith("fine-tuning pmg_aft_paper:"))
    assert float(line.split()[-2]) == pytest.approx(expected, rel=0.02)
    assert "sustained" in text
