"""Every command answers for help, and refuses what it does not know in one sentence."""

import re

import pytest

from zsrobust.cli.commands import command_names
from zsrobust.cli.main import main
from zsrobust.config.parsing import parse_evaluate, parse_finetune
from zsrobust.sweep.plan_file import plan_names

COMMANDS = command_names()
BELOW = {"data": ("list", "prepare", "verify", "shard"), "reproduce": plan_names()}
EVERY = [(c,) for c in COMMANDS] + [(c, below) for c, names in BELOW.items() for below in names]


def answer(argv):
    """The exit code, which argparse gives by an exception of its own."""
    try:
        return main(argv)
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("argv", EVERY, ids=" ".join)
def test_help_comes_first(argv, capsys):
    for asked in ("--help", "-h"):
        for given in ([*argv, asked], [*argv, "--json", "--no-such-option", asked]):
            assert answer(given) == 0, given
            out, err = capsys.readouterr()
            assert out.startswith(f"usage: zsrobust {argv[0]}"), given
            assert err == ""


@pytest.mark.parametrize(
    "wrong",
    [
        ["evaluate", "--model", "nowhere"],
        ["finetune", "--config", "nope"],
        ["finetune", "--method", "nope"],
        ["completion", "cmd"],
        ["export", "x", "--to", "pdf"],
        ["sweep", "nope"],
    ],
)
def test_help_comes_whatever_else_is_wrong(wrong, capsys):
    assert answer([*wrong, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: zsrobust {wrong[0]}")


def test_help_of_a_method_lists_its_options(capsys):
    assert answer(["finetune", "--method", "sum", "--help"]) == 0
    assert "--objective.terms" in capsys.readouterr().out


def default_of(option, text):
    """The default that help prints for an option."""
    help_of_it = re.search(rf"(?m)^  --{re.escape(option)} .*?(?=^  --|^\S|\Z)", text, re.DOTALL)[0]
    return re.search(r"default: ([^)]*)\)", " ".join(help_of_it.split()))[1]


@pytest.mark.parametrize("model", ["ViT-B-32/openai", "photo-lite", "glyph-clip-robust"])
def test_help_with_a_recipe_shows_what_the_run_would_use(model, capsys):
    argv = ["finetune", "--config", "pmg_aft_paper", "--model", model]
    assert answer([*argv, "--help"]) == 0
    text = capsys.readouterr().out
    run = parse_finetune([*argv[1:], "--data", "digits"])
    assert float(default_of("optimizer.lr", text)) == run.optimizer.lr
    assert int(default_of("batch_size", text)) == run.batch_size
    assert default_of("steps", text) == ("null" if run.steps is None else str(run.steps))
    assert default_of("attack.eps", text) == str(run.attack.eps)
    assert default_of("objective.preset", text) == "paper"


def test_help_with_a_recipe_of_an_evaluation(capsys):
    assert answer(["evaluate", "--help", "--config", "quick"]) == 0
    run = parse_evaluate(["--config", "quick", "--model", "m", "--data", "digits"])
    assert default_of("samples", capsys.readouterr().out) == str(run.samples)


@pytest.mark.parametrize("command", ["finetune", "evaluate", "demo", "sweep", "serve"])
def test_help_shows_no_object_of_the_program(command, capsys):
    assert answer([command, "--help"]) == 0
    assert not re.search("<|Literal|0x|``", capsys.readouterr().out)


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"], ["--json", "--help"]])
def test_the_command_itself(argv, capsys):
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: zsrobust [")
    assert all(f"\n  {command} " in out for command in COMMANDS)


def test_help_on_a_command(capsys):
    assert answer(["help", "rerun"]) == 0
    assert capsys.readouterr().out.startswith("usage: zsrobust rerun")


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_options_are_one_sentence(command, capsys):
    assert main([command, "--no-such-option"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


FOLDERS = {
    "compare": [],
    "seeds": [],
    "report": [],
    "leaderboard": [],
    "bundle": [],
    "verify": [],
    "rerun": [],
    "export": ["--to", "tecoa"],
    "push": ["me/model"],
    "evaluate": ["--data", "digits", "--model"],
}


@pytest.mark.parametrize("command", FOLDERS)
def test_what_is_no_run_is_one_sentence(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name in ("nowhere", "empty", "file"):
        more = FOLDERS[command]
        argv = [*more, name] if more[-1:] == ["--model"] else [name, *more]
        assert main([command, *argv]) == 2, argv
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert name in error


@pytest.mark.parametrize("command", ["compare", "seeds", "sweep", "reproduce", "data", "rerun"])
def test_nothing_to_do_is_refused(command, capsys):
    assert main([command]) == 2
    assert capsys.readouterr().err.count("\n") == 1
