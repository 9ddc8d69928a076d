"""Templates and presets of class names, as options of both commands."""

import pytest

from zsrobust.config.parsing import parse_evaluate, parse_finetune, recipe
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.specification import parse_specification
from zsrobust.objectives import SAFT, CompTGA
from zsrobust.utils.errors import RequestError


@pytest.mark.parametrize(
    "template", ["a {} {thing}", "a {0}", "a {c}", "{} {}", "a {{}}", "{ {}", "photo", "", "  "]
)
def test_a_template_has_one_place_for_the_name_and_no_other_brace(template, tmp_path):
    given = ["--model", "m", "--data", "d"]
    file = tmp_path / "templates.txt"
    file.write_text(f"a photo of a {{}}.\n{template}\n")
    for refused in (
        lambda: parse_evaluate([*given, "--templates", template]),
        lambda: parse_finetune([*given, "--templates", "a {}", template]),
        lambda: EvaluateConfig(model=["m"], data=["d"], templates=[template]),
        lambda: parse_specification(f"imagefolder:x,templates={file}"),
        lambda: SAFT(plain=["a {}", template]),
        lambda: CompTGA(negation=template),
    ):
        with pytest.raises(RequestError, match=r"\{\} in it once") as error:
            refused()
        assert "\n" not in str(error.value)


def test_templates_may_be_a_named_set_alone():
    asked = ["--model", "m", "--data", "d", "--templates"]
    assert parse_evaluate([*asked, "ensemble"]).templates == ["ensemble"]
    assert parse_finetune([*asked, "single"]).templates == ["single"]
    for wrong in (["ensembel"], ["ensemble", "single"], ["ensemble", "a {}"]):
        with pytest.raises(RequestError, match="templates is"):
            parse_evaluate([*asked, *wrong])


def test_a_preset_is_for_published_sets_without_one_of_their_own():
    argv = ["--model", "m", "--prompts", "authors_code", "--data"]
    data = ["cifar10:a", "cifar10:b,prompts=clip", "paper16:c", "imagefolder:d", "digits"]
    asked = parse_evaluate([*argv, *data])
    expected = ["cifar10:a,prompts=authors_code", data[1], "paper16:c,prompts=authors_code"]
    assert asked.data == [*expected, *data[3:]]
    assert parse_evaluate(["--model", "m", "--data", *data]).data == data
    with pytest.raises(RequestError, match="prompts is mine: must be one of paper, authors_code"):
        parse_finetune(["--model", "m", "--data", "digits", "--prompts", "mine"])


def test_the_script_s_recipe_takes_its_names_images_and_batches():
    found = recipe("pmg_aft_authors_code", model="m", data="tiny-imagenet:a")
    assert found.data == "tiny-imagenet:a,prompts=authors_code"
    assert (found.hold_out, found.drop_last) == (0, False)
