import pytest

from zsrobust.cli.commands.sweep import parse_sweep
from zsrobust.sweep.plan import run_name
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

REST = ["--model", "glyph-clip", "--data", "glyph:training", "--evaluation.data", "glyphs"]


def test_words_go_where_they_belong(tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("method: trades\nobjective:\n  beta: 3.0\n")
    sweep = parse_sweep(
        [
            *("tecoa", "pmg_aft", str(own), "--seeds", "0", "4", "--steps", "7", *REST),
            *("--attack.eps", "4/255", "--optimizer.lr=0.001", "--out", "here"),
            *("--evaluation.attack", "pgd-10", "autoattack", "--evaluation.eps", "2/255"),
        ]
    )
    assert list(sweep.recipes) == ["tecoa", "pmg_aft", "mine"]
    assert sweep.seeds == (0, 4)
    for config in sweep.recipes.values():
        assert (config.steps, config.attack.eps) == (7, Eps("4/255"))
        assert config.optimizer.lr == 0.001
    assert sweep.recipes["mine"].objective.beta == 3.0
    assert sweep.evaluation.attack == ["pgd-10", "autoattack"]
    assert sweep.evaluation.eps == [Eps("2/255")]
    assert sweep.evaluation.data == ["glyphs"]
    job = sweep.training("mine", 4)
    assert (job.config.seed, str(job.folder)) == (4, "here/runs/mine-seed-4")
    looked_at = sweep.evaluation_of("mine", 4).config
    assert looked_at.model == ["here/runs/mine-seed-4"]
    assert not looked_at.baseline


def test_an_evaluation_recipe_can_be_named():
    argv = ["tecoa", "--steps", "7", *REST, "--out", "here", "--evaluation.config", "quick"]
    assert parse_sweep(argv).evaluation.attack == ["noise-10", "pgd-10", "cw-10"]


def test_equal_passes_give_dearer_methods_fewer_steps():
    argv = ["tecoa", "pmg_aft", "ft_clean", "--passes", "2100", *REST, "--out", "here"]
    steps = {name: config.steps for name, config in parse_sweep(argv).recipes.items()}
    assert steps == {"tecoa": 300, "pmg_aft": 190, "ft_clean": 700}


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--steps", "7", "--out", "x", *REST], "name at least one recipe"),
        (["tecoa", "--epochs", "2", "--out", "x", *REST], "tecoa has no number of steps"),
        (["tecoa", "--steps", "7", *REST], "missing: --out"),
        (["tecoa", "tecoa", "--steps", "7", "--out", "x", *REST], "tecoa twice"),
        (
            ["tecoe", "--steps", "7", "--out", "x", *REST],
            "there is no file or recipe 'tecoe': did you mean tecoa?",
        ),
        (["tecoa", "--steps", "7", "--out", "x", "--sedes", "0", *REST], "no option --sedes"),
        (["tecoa", "--seed", "3", "--steps", "7", "--out", "x", *REST], "give --seeds"),
        (["tecoa", "--pases", "7", "--out", "x", *REST], "did you mean --passes?"),
        (
            ["tecoa", "--steps", "7", "--out", "x", *REST, "--evalution.data", "d"],
            "did you mean --evaluation.data?",
        ),
        (
            ["tecoa", "--steps", "7", "--out", "x", *REST, "--eps", "0"],
            "did you mean --attack.eps or --evaluation.eps?",
        ),
        (
            ["tecoa", "--steps", "7", "--out", "x", *REST, "--evaluation.epss", "0"],
            "no option --evaluation.epss; did you mean --evaluation.eps?",
        ),
        (
            ["tecoa", "--steps", "7", "--out", "x", *REST, "--evaluation.model", "m"],
            "a sweep evaluates what it fine-tunes",
        ),
        (["tecoa", "--seeds", "a", "--steps", "7", "--out", "x", *REST], "seeds"),
        (["tecoa", "--seeds", "1", "1", "--steps", "7", "--out", "x", *REST], "given once each"),
        (
            ["tecoa", "--steps", "7", "--out", "x", "--model", "m", "--data", "d"],
            "of the evaluation: missing: --evaluation.data",
        ),
        (["tecoa", "--steps", "7", "--out", "x", *REST, "--evaluation.eps", "8"], "below 1"),
    ],
)
def test_bad_requests_are_refused(argv, sentence):
    with pytest.raises(RequestError, match=sentence):
        parse_sweep(argv)


def test_runs_are_named_after_recipe_and_seed():
    assert run_name("tecoa", 3) == "tecoa-seed-3"
