"""The recipes of published methods hold the numbers that their tables in docs/fidelity.md give."""

import re
from pathlib import Path

import pytest
import yaml

from zsrobust.config.parsing import parse_finetune, recipe
from zsrobust.config.schema import to_plain
from zsrobust.objectives import OBJECTIVES, PMGAFT, SumOfTerms, Term
from zsrobust.objectives.sum import TERMS

ROOT = Path(__file__).parents[2]
FIDELITY = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")

# method: optimiser, learning rate, weight decay, batch, eps in 1/255, attack steps, and their size
# in 1/255 where that is not 1
NUMBERS = {
    "ft_clean": ("sgd", 5e-5, 0.0, 256, None, None),
    "ft_adv": ("sgd", 5e-5, 0.0, 256, 1, 2),
    "tecoa": ("sgd", 1e-5, 0.0, 256, 1, 2),
    "pmg_aft": ("sgd", 5e-5, 0.0, 256, 1, 2),
    "fare": ("adamw", 1e-5, 1e-4, 128, 2, 10),
    "lore": ("adamw", 1e-5, 1e-4, 448, 2, 10, 0.5),
    "sim_clip": ("adamw", 1e-5, 1e-4, 128, 2, 10),
    "tga_zsr": ("sgd", 1e-4, 0.0, 128, 1, 2),
    "comp_tga": ("sgd", 1e-4, 0.0, 128, 1, 2),
    "saft": ("sgd", 1e-4, 0.0, 128, 1, 2),
    "adv_flyp": ("sgd", 1e-4, 0.0, 256, 1, 2),
    "caw": ("sgd", 5e-5, 0.0, 256, 1, 2),
    "hpt": ("sgd", 5e-4, 0.0, 64, 2, 5),
    "mmcoa": ("adamw", 1e-6, 0.0, 256, 1, 10),
    "agft": ("sgd", 4e-4, 0.0, 256, 1, 2),
    "trades": ("sgd", 5e-5, 0.0, 256, 1, 2),
}


def test_every_method_has_a_recipe_of_its_name():
    assert {*NUMBERS, "sum"} == set(OBJECTIVES)


@pytest.mark.parametrize("method", NUMBERS)
def test_numbers(method):
    found = recipe(method, model="m", data="d")
    assert found.method == method
    assert found.objective == OBJECTIVES[method]()
    name, rate, decay, batch, eps, steps, *size = NUMBERS[method]
    optimizer = found.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.weight_decay) == (name, rate, decay)
    assert found.batch_size == batch
    if eps is not None:
        assert (found.attack.eps * 255, found.attack.steps) == (pytest.approx(eps), steps)
        assert found.attack.step_size * 255 == pytest.approx(*size or [1])


def test_the_sum_recipe_is_pmg_aft_term_by_term():
    found, whole = recipe("sum", model="m", data="d"), recipe("pmg_aft", model="m", data="d")
    assert found.objective == SumOfTerms(
        [Term("ce_adv"), Term("kl_teacher_adv"), Term("kl_clean_adv")]
    )
    assert found.objective.needs == PMGAFT().needs
    for part in ("attack", "optimizer", "epochs", "batch_size"):
        assert getattr(found, part) == getattr(whole, part)


def test_a_written_sum_reads_back(tmp_path):
    words = "[{name: ce_adv, weight: 0.5}, {name: l2_anchor_adv, reduction: sum}]"
    first = parse_finetune(
        ["--config", "sum", "--model", "m", "--data", "d", f"--objective.terms={words}"]
    )
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_plain(first)))
    assert parse_finetune(["--config", str(path)]) == first
    assert first.objective.label == "sum[0.5 ce_adv + sum(l2_anchor_adv)]"


def test_the_fidelity_page_covers_every_method_and_term():
    for name in OBJECTIVES:
        assert f"`{name}" in FIDELITY, name
    for name in TERMS:
        assert f"`{name}`" in FIDELITY, name


def test_every_test_and_recipe_the_fidelity_page_links_to_exists():
    links = re.findall(r"\]\(\.\./([^)]+)\)", FIDELITY)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).is_file(), link
    tests = re.findall(r"\[`(test_\w+)`\]\(\.\./([^)]+)\)", FIDELITY)
    assert tests
    for function, path in tests:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), function
