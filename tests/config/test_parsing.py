import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from zsrobust.config.identity import deciding, run_name
from zsrobust.config.parsing import (
    finetune_parser,
    parse_evaluate,
    parse_finetune,
    parse_options,
    recipe,
)
from zsrobust.config.recipes import recipe_names, recipe_path
from zsrobust.config.schema import EvaluateConfig, TrainingAttack, to_plain
from zsrobust.objectives import OBJECTIVES, PMGAFT, TeCoA
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

GIVEN = ["--model", "m", "--data", "digits"]


@pytest.mark.parametrize("name", recipe_names("finetune"))
def test_every_recipe_is_whole(name):
    found = recipe(name, model="m", data="digits")
    assert found.model == "m"
    assert found.objective.label.startswith(found.method)


@pytest.mark.parametrize("name", recipe_names("evaluate"))
def test_every_evaluation_recipe_is_whole(name):
    found = parse_evaluate(["--config", name, "--model", "m", "--data", "d"])
    assert found.model == ["m"]
    assert found.eps[0] == 1 / 255


def test_pmg_aft_recipes_are_what_method_and_script_say():
    names = {"pmg_aft": "authors_code", "pmg_aft_authors_code": "authors_code"}
    for name, preset in (names | {"pmg_aft_paper": "paper"}).items():
        found = recipe(name, model="m", data="d")
        assert found.objective == PMGAFT(preset=preset)
        plain = to_plain(found)
        assert plain["attack"] == {
            "norm": "linf",
            "eps": "1/255",
            "steps": 2,
            "step_size": "1/255",
            "random_start": True,
        }
        assert plain["optimizer"] == {
            "name": "sgd",
            "lr": 5e-5,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "warmup_steps": 1000,
            "clip_norm": None,
        }
        assert (found.epochs, found.batch_size) == (10, 256)
    script = recipe("pmg_aft_authors_code", model="m", data="d")
    assert (script.preprocessing, script.loader_resize) == ("authors_code", "authors_code")


def test_an_option_overrides_the_recipe_wherever_it_stands():
    before = ["--optimizer.lr", "1", "--steps", "7", "--config=tecoa"]
    found = parse_finetune([*before, "--model", "m", "--data", "d"])
    assert (found.optimizer.lr, found.steps, found.method) == (1, 7, "tecoa")
    found = parse_evaluate(
        ["--eps", "2/255", "--config", "standard", "--model", "m", "--data", "d"]
    )
    assert found.eps == [Eps("2/255")]


def test_epochs_that_are_asked_for_replace_a_recipes_steps():
    assert recipe("fare", model="m", data="d").steps == 20000
    assert recipe("fare", model="m", data="d", epochs=3).steps is None
    assert recipe("fare", model="m", data="d", epochs=3, steps=7).steps == 7


@pytest.mark.parametrize("model", ["glyph-clip", "glyph-vit", "photo-lite", "photo-lite-robust"])
@pytest.mark.parametrize("name", recipe_names("finetune"))
def test_recipes_have_settings_of_their_own_for_small_models(name, model):
    found, usual = (recipe(name, model=one, data="digits") for one in (model, "m"))
    assert (found.method, found.objective) == (usual.method, usual.objective)
    assert (found.attack, found.adapter) == (usual.attack, usual.adapter)
    if name in ("few_photos", "quick_digits"):
        assert found.optimizer == usual.optimizer
        return
    assert found.steps * found.batch_size < 20_000
    assert found.optimizer.warmup_steps <= found.steps / 10
    assert recipe(name, model=model, data="digits", steps=5, batch_size=2).steps == 5
    # A file of one's own means what it says.
    path = str(recipe_path(name, "finetune"))
    assert recipe(path, model=model, data="digits").steps == usual.steps


def test_few_photos_is_pmg_aft_in_a_short_run_of_small_batches():
    data = ["--data", "imagefolder:photos"]
    options = ["--batch_size", "32", "--steps", "60", "--hold_out", "0.15"]
    options += ["--optimizer.warmup_steps", "20"]
    options += ["--evaluate_every", "60", "--checkpoint_every", "20"]
    plain = parse_finetune(["--config", "pmg_aft", "--model", "photo-lite-robust", *data, *options])
    assert parse_finetune(["--config", "few_photos", *data]) == plain


def test_the_command_line_overrides_the_recipe():
    found = parse_finetune(
        ["--config", "tecoa", *GIVEN, "--optimizer.lr=0.5", "--attack.eps", "4/255", "--steps", "7"]
    )
    assert found.objective == TeCoA()
    assert (found.optimizer.lr, found.attack.eps, found.steps) == (0.5, 4 / 255, 7)
    assert found.optimizer.warmup_steps == 1000


def test_a_written_configuration_reads_back(tmp_path):
    path = tmp_path / "config.yaml"
    for first in (
        recipe("pmg_aft", model="m", data="d", objective={"alpha": 0.5, "logit_scale": 100.0}),
        recipe("tecoa", model="m", data="d", templates=["a {}", "the {}"]),
    ):
        path.write_text(yaml.safe_dump(to_plain(first)))
        assert parse_finetune(["--config", str(path)]) == first


def test_lists_repeat_or_stand_side_by_side():
    argv = ["--model", "a", "--data", "x", "--eps", "1/255"]
    by_turns = parse_evaluate([*argv, "--model", "b", "--data", "y", "--eps", "2/255"])
    argv = ["--model", "a", "b", "--data", "x", "y", "--eps", "1/255", "2/255"]
    together = parse_evaluate(argv)
    assert by_turns == together
    assert together.model == ["a", "b"]
    assert together.eps == [1 / 255, 2 / 255]
    assert parse_evaluate(["--model", "a", "--data=x"]).data == ["x"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--config nope",
            f"there is no file or recipe 'nope': choose {recipe_names('finetune')[0]}",
        ),
        ("--config tecoa --model m", "missing: --data"),
        ("--config tecoa {} --stepps 3", "there is no option --stepps; did you mean --steps?"),
        ("--config tecoa {} --steps 0", "steps is 0: must be 1 or more, or null"),
        ("--config tecoa {} --steps ten", "steps is ten: must be int, or null"),
        ("--config tecoa {} --epochs 0", "epochs is 0: must be 1 or more"),
        ("--config tecoa {} --attack.eps -1/255", "attack.eps: '-1/255' must be 0 or more"),
        ("--config tecoa {} --attack.eps one", "attack.eps: 'one' is not a number: write 1/255"),
        ("--config tecoa {} --attack.eps 1", "attack.eps is 1: must be below 1, the whole pixel"),
        ("--config tecoa {} --attack.step_size 1", "attack.step_size is 1: must be below 1"),
        ("--config tecoa {} --attack.step_size 8.0", "attack.step_size is 8: must be below 1"),
        ("--config tecoa {} --attack.step_size 1/0", "attack.step_size is 1/0: must be 0 or more"),
        ("--config tecoa {} --attack.step_size 0", "attack.step_size is 0/255: must be above 0"),
        ("--config tecoa {} --attack.steps 0", "attack.steps is 0: must be 1 or more"),
        (
            "--config tecoa {} --precision fp16",
            "precision is fp16: must be one of fp32, bf16",
        ),
        (
            "--config tecoa {} --method mine",
            f"there is no method 'mine': choose {min(OBJECTIVES)}",
        ),
        (
            '--config sum {} --objective.terms [{"name":"ce"}]',
            "objective.terms.name is 'ce': must be one of ce_adv",
        ),
        (
            '--config sum {} --objective.terms [{"name":"ce_adv","wieght":1}]',
            "there is no key wieght in objective.terms",
        ),
        (
            '--config sum {} --objective.terms [{"name":"ce_adv","weight":"one"}]',
            "objective.terms.weight is one: must be float",
        ),
        ('--config sum {} --objective.terms [{"weight":1}]', "missing: name in objective.terms"),
        ("--config tecoa {} --objective.alpha 1", "there is no option --objective.alpha"),
        ("--config tecoa {} --eps 1/255", "there is no option --eps; did you mean --attack.eps?"),
        ("--config tecoa {} --lr 0.1", "there is no option --lr; did you mean --optimizer.lr?"),
        (
            "--config pmg_aft {} --alpha 2",
            "did you mean --adapter.alpha or --objective.alpha?",
        ),
        ("runs/a {}", "runs/a belongs to no option: write --KEY VALUE"),
        ("--config pmg_aft {} --objective.alpha=-1", "objective.alpha is -1.0: must be 0 or more"),
        (
            "--config pmg_aft {} --objective.preset x",
            "objective.preset is x: must be one of paper, authors_code",
        ),
        (
            "--config pmg_aft {} --optimizer.momentum 1",
            "optimizer.momentum is 1.0: must be in [0, 1)",
        ),
        ("--config pmg_aft {} --hold_out 1", "hold_out is 1.0: must be 0, or below 1"),
        (
            "--config pmg_aft {} --drop_last false --accumulate 2",
            "drop_last is False: must be true with accumulate above 1",
        ),
        ("--config pmg_aft {} --accumulate 3", "accumulate is 3: must be a divisor of batch_size"),
        (
            "--config pmg_aft {} --templates photo",
            "templates is 'photo': must be text with {} in it",
        ),
    ],
)
def test_bad_words_are_named(argv, message):
    with pytest.raises(RequestError) as refused:
        parse_finetune(argv.replace("{}", " ".join(GIVEN)).split())
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "method: tecoa\nattack:\n  stepz: 3\n",
            "there is no key attack.stepz; did you mean attack.steps?",
        ),
        ("method: tecoa\nlerning: 1\n", "there is no key lerning"),
        (
            "method: tecoa\noptimiser: {lr: 1}\n",
            "there is no key optimiser.lr; did you mean optimizer.lr?",
        ),
        ("method: pmg_aft\nobjective: 5\n", "objective is 5: must be keys and values"),
        ("method: pmg_aft\nattack: 5\n", "attack is 5: must be keys and values"),
        ("method: [tecoa\n", "cannot be read as YAML"),
        ("just words", "must hold keys and values"),
        ("method: tecoa\nsteps: 1.5\n", "steps is 1.5: must be int, or null"),
        ("method: tecoa\noptimizer: {lr: fast}\n", "optimizer.lr is fast: must be float"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RequestError) as refused:
        parse_finetune(["--config", str(path), *GIVEN])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--model a", "missing: --data"),
        ("--model a --data x x", "data is x twice: must be given once each"),
        ("--model a --data x --eps -1/255", "'-1/255' must be 0 or more"),
        ("--model a --data x --pgd.step_size nan", "pgd.step_size is nan: must be 0 or more"),
        ("--model a --data x --samples 0", "samples is 0: must be 1 or more"),
        ("--model a --data x --samples=", "samples is : must be int, or null"),
        ("--model a --data x --overwrite 1", "overwrite is 1: must be true or false"),
        ("--model a --data x --pgd.restarts 0", "pgd.restarts is 0: must be 1 or more"),
        ("--model a --data x --dta=c", "there is no option --dta; did you mean --data?"),
    ],
)
def test_bad_evaluations_are_named(argv, message):
    with pytest.raises(RequestError) as refused:
        parse_evaluate(argv.split())
    assert message in str(refused.value)


def test_switches_need_no_value():
    given = ["--model", "m", "--data", "d"]
    found = parse_evaluate([*given, "--sanity", "--baseline", "false", "--overwrite"])
    assert (found.sanity, found.baseline, found.overwrite) == (True, False, True)
    with pytest.raises(RequestError, match="eps is 0: must be above 0 for the sanity checks"):
        parse_evaluate([*given, "--eps", "0", "--sanity"])


def test_every_option_is_explained():
    for method in ("ft_clean", "tecoa", "pmg_aft"):
        for action in finetune_parser(method)._actions:
            if action.dest not in ("attack", "optimizer", "objective"):
                assert action.help, action.dest


def test_run_names_differ_where_results_would():
    base = recipe("pmg_aft", model="m", data="d")
    assert run_name(base) == run_name(recipe("pmg_aft", model="m", data="d", workers=3))
    assert run_name(base) != run_name(recipe("pmg_aft", model="m", data="d", seed=1))
    assert "out" not in deciding(base)


def test_python_and_command_line_make_the_same_configuration():
    argv = ["--model", "m", "--data", "d", "--eps", "1/255", "--pgd.step_size", "0.5/255"]
    from_words = parse_evaluate(argv)
    made = EvaluateConfig(
        model=["m"], data=["d"], eps=[1 / 255], pgd=type(from_words.pgd)(step_size=0.5 / 255)
    )
    assert to_plain(made) == to_plain(from_words)
    assert run_name(made) == run_name(from_words)
    assert TrainingAttack(eps="2/255").eps == 2 / 255
    with pytest.raises(RequestError, match="model is 'photo-lite': must be a list"):
        EvaluateConfig(model="photo-lite", data=["d"])


def test_options_of_a_command_without_words_are_its_defaults():
    @dataclass
    class Options:
        """Some.

        Attributes:
            loud: one.
        """

        loud: bool = False

    def parsed(argv):
        return parse_options(Options, argv, command="some", description="Some.")

    assert parsed([]) == {"loud": False}
    assert parsed(["--loud"]) == {"loud": True}
    with pytest.raises(RequestError, match="there is no option --lod; did you mean --loud"):
        parsed(["--lod"])


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A module that is not yet imported; the name of a class in it."""
    (tmp_path / "not_to_be_imported.py").write_text("class Thing: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return "not_to_be_imported.Thing"


@pytest.mark.parametrize("group", ["attack", "optimizer", "adapter", "objective", "pgd"])
def test_no_word_and_no_recipe_has_a_module_imported(importable, group):
    parse = parse_evaluate if group == "pgd" else parse_finetune
    needed = ["--model", "m", "--data", "d"]
    Path("plain.yaml").write_text(f"{group}: {importable}\n")
    Path("class.yaml").write_text(f"{group}: {{class_path: {importable}}}\n")
    for argv in (
        [f"--{group}={importable}"],
        [f"--{group}", importable],
        [f'--{group}={{"class_path": "{importable}"}}'],
        [f"--{group}.class_path={importable}"],
        ["--config", "plain.yaml"],
        ["--conf", "plain.yaml"],
        ["--config=class.yaml"],
    ):
        with pytest.raises(RequestError):
            parse([*needed, *argv])
    assert "not_to_be_imported" not in sys.modules


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--optimizer.lr=.inf"], "optimizer.lr is inf: must be finite"),
        (
            ["--optimizer.weight_decay=1e999"],
            "optimizer.weight_decay is inf: must be finite",
        ),
        (["--steps=1" + 30 * "0"], "must be of 64 bits"),
        (["--workers=1000000"], "workers is 1000000: must be 0 to 512"),
        (["--out=a\0b"], "must be without control characters"),
        (["--templates", "a {}\x1b[2J"], "must be without control characters"),
        (["--config", "x" * 5000], "there is no file or recipe"),
        (["--config", "a\0b"], "there is no file or recipe"),
    ],
)
def test_absurd_values_are_refused(argv, message):
    with pytest.raises(RequestError) as refused:
        parse_finetune(["--model", "m", "--data", "d", *argv])
    assert message in str(refused.value)


def test_a_long_value_makes_no_long_message():
    with pytest.raises(RequestError) as refused:
        parse_finetune(["--model", "m", "--data", "d", "--seed", "[" * 100_000])
    assert len(str(refused.value)) < 1000


def test_a_step_in_l2_may_be_as_long_as_the_pixel_range():
    argv = ["--model", "m", "--data", "d", "--norm", "l2", "--eps", "3", "--pgd.step_size", "1"]
    assert parse_evaluate(argv).pgd.step_size == 1


@pytest.mark.parametrize("option", ["ema.decay", "attack.eps.x", "steps.x", "templates.x"])
def test_a_key_below_one_that_has_none_is_unknown(option):
    meant = option.rpartition(".")[0]
    with pytest.raises(RequestError, match=f" --{re.escape(option)}; did you mean --{meant}\\?$"):
        parse_finetune(["--model", "glyph-clip", "--data", "digits", f"--{option}", "0.5"])


def test_a_recipe_takes_model_and_data_by_name():
    for given in (["digits"], [(0, 1)], object()):
        with pytest.raises(RequestError, match=r"data is .*: must be text, as after --data"):
            recipe("tecoa", model="m", data=given)
    assert recipe("tecoa", model="m", data=Path("digits")).data == "digits"


def test_a_second_value_is_named_with_the_option_that_takes_one():
    with pytest.raises(RequestError, match=r"^--norm takes one value, and linf and l2 are given$"):
        parse_evaluate([*GIVEN, "--norm", "linf", "l2"])
    with pytest.raises(RequestError, match=r"^x belongs to no option: write --KEY VALUE$"):
        parse_evaluate(["x", *GIVEN])
