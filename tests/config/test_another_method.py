from dataclasses import replace

import pytest
import yaml

from zsrobust.config.parsing import notes_on_method, parse_finetune, recipe
from zsrobust.config.recipes import recipe_names
from zsrobust.config.schema import to_plain
from zsrobust.objectives import TeCoA
from zsrobust.utils.errors import RequestError


@pytest.mark.parametrize("name", recipe_names("finetune"))
def test_another_method_takes_its_own_objective_into_any_recipe(name):
    usual, own = recipe(name, model="m", data="d"), recipe("trades", model="m", data="d")
    found = recipe(name, model="m", data="d", method="trades")
    if usual.method != "trades":
        assert found.objective == own.objective
    # All else is the recipe's.
    assert replace(found, method=usual.method, objective=usual.objective) == usual
    argv = ["--config", name, "--model", "m", "--data", "d", "--method", "trades"]
    assert parse_finetune(argv) == found


def test_another_method_on_a_small_model_takes_its_own_rate():
    def rate(*names, **others):
        return recipe(*names, data="d", **others).optimizer.lr

    tecoa = rate("tecoa", model="photo-lite")
    few = recipe("few_photos", data="d", method="tecoa")
    assert few.optimizer.lr == tecoa < rate("few_photos")
    assert (few.model, few.steps, few.hold_out) == ("photo-lite-robust", 60, 0.15)
    assert rate("pmg_aft", model="photo-lite", method="tecoa") == tecoa
    assert rate("pmg_aft_blocks", model="photo-lite", method="tecoa") == tecoa
    assert rate("tecoa", model="glyph-clip", method="pmg_aft") == rate(
        "pmg_aft", model="glyph-clip"
    )
    # A rate for an adapter is no rate for all weights.
    assert rate("tecoa_prompt", model="photo-lite", method="pmg_aft") == rate(
        "tecoa_prompt", model="photo-lite"
    )
    assert rate("few_photos", method="tecoa", optimizer={"lr": 0.5}) == 0.5


def test_another_method_in_a_file_of_ones_own_keeps_its_rate(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(to_plain(recipe("few_photos", data="d"))))
    found = parse_finetune(["--config", str(path), "--method", "tecoa"])
    assert found.objective == TeCoA()
    assert found.optimizer.lr == recipe("few_photos", data="d").optimizer.lr
    with pytest.raises(RequestError, match=r"there is no option --objective\.preset"):
        parse_finetune(
            ["--config", str(path), "--method", "tecoa", "--objective.preset", "authors_code"]
        )


def test_a_run_says_what_another_method_takes():
    (note,) = notes_on_method(["--config", "few_photos", "--method", "tecoa", "--data", "d"])
    assert "pmg_aft" in note
    assert "optimizer.lr is 0.003" in note
    assert not notes_on_method(["--config", "few_photos", "--method", "pmg_aft", "--data", "d"])
    assert not notes_on_method(["--method", "tecoa", "--model", "m", "--data", "d"])
