"""What is printed as the next command can be copied, whatever the run folder is called."""

import json
import re
import shlex
import subprocess
from types import SimpleNamespace

import pytest

from zsrobust.cli.main import main
from zsrobust.config.parsing import parse_evaluate, parse_finetune
from zsrobust.config.schema import EvaluateConfig, to_plain
from zsrobust.models.loading import folder_name
from zsrobust.reporting.commands import command_after, evaluate_command
from zsrobust.utils.units import Eps

FOLDERS = ("-my runs/it's $HOME;[a]", "ViT-B-32/openai")


@pytest.fixture
def argv(small_clip, photos):
    argv = ["finetune", "--method=tecoa", "--model", small_clip, "--data"]
    argv += [f"imagefolder:{photos('own photos', classes=2)}", "--steps=1", "--batch_size=4"]
    return [*argv, "--hold_out=0.25", "--device=cpu"]


def test_it_evaluates_the_run(argv, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photos("OTHER_PHOTOS", classes=3)
    for folder in FOLDERS:
        assert main([*argv, f"--out={folder}"]) == 0
        command = re.search("next: (.*)", capsys.readouterr().out)[1]
        shell = subprocess.run(
            ["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True, check=True
        )
        program, *rest = shell.stdout.splitlines()
        assert program == "zsrobust"
        rest += ["--attack=pgd-1", "--samples=2", "--out=evaluation", "--overwrite", "--json"]
        assert main(rest) == 0, command
        rows = json.loads(capsys.readouterr().out)["results"]
        assert [row["method"] for row in rows] == ["original", "tecoa"]


CSV = {
    "split.csv": "path,label,split\na.png,a,train\nb.png,b,train\nc.png,a,test\nd.png,b,test\n",
    "whole.csv": "path,label\na.png,a\nb.png,b\n",
}


@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        ("digits", "digits"),
        ("digits,split=train", "digits"),
        ("digits,split=test", "imagefolder:OTHER_PHOTOS"),
        ("csv:split.csv,resolution=32", "csv:split.csv,resolution=32"),
        ("csv:split.csv,split=all", "imagefolder:OTHER_PHOTOS"),
        ("csv:whole.csv,resolution=32", "imagefolder:OTHER_PHOTOS,resolution=32"),
        ("imagefolder:photos", "imagefolder:OTHER_PHOTOS"),
        ("memory:mine", "imagefolder:OTHER_PHOTOS"),
    ],
)
def test_it_never_evaluates_on_the_training_images(
    trained, expected, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    pictures = sorted(photos("photos", classes=2).rglob("[01].png"))
    for name, picture in zip("abcd", pictures, strict=True):
        picture.rename(tmp_path / f"{name}.png")
    for name, text in CSV.items():
        (tmp_path / name).write_text(text)
    argv = shlex.split(command_after({"data": trained}, tmp_path / "run"))
    assert argv[argv.index("--data") + 1 :] == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--attack.eps", "4/255"], {"eps": [Eps("4/255")], "norm": "linf"}),
        (["--attack.norm", "l2", "--attack.eps", "0.5"], {"eps": [Eps(0.5)], "norm": "l2"}),
        (["--templates", "a {}.", "the 'last' {}"], {"templates": ["a {}.", "the 'last' {}"]}),
        (["--device", "cpu", "--workers", "2"], {"device": "cpu", "workers": 2}),
        (["--on_unreadable", "skip"], {"on_unreadable": "skip"}),
    ],
)
def test_it_evaluates_as_was_trained(options, expected, tmp_path):
    trained = parse_finetune(["--model", "m", "--data", "digits", *options])
    program, command, *argv = shlex.split(command_after(to_plain(trained), tmp_path / "a run"))
    assert (program, command) == ("zsrobust", "evaluate")
    found = parse_evaluate(argv)
    assert {key: getattr(found, key) for key in expected} == expected
    plain = command_after(to_plain(parse_finetune(["--model", "m", "--data", "digits"])), tmp_path)
    assert shlex.split(plain)[2:5] == ["--model", str(tmp_path), "--data"]
    assert shlex.split(plain)[5:] == ["digits", "--eps", "1/255"]


def test_out_is_below_the_home_folder(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert main([*argv, "--out=~/run"]) == 0
    assert (tmp_path / "home" / "run" / "model").is_dir()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("name", "plain"), [("runs/a", True), ("~a", False), ("hf-hub:a/b", False)]
)
def test_a_folder_has_its_own_name_where_that_is_clear(name, plain, tmp_path):
    from pathlib import Path

    assert folder_name(Path(name)) == (name if plain else f"./{name}")


def test_the_command_of_a_run_makes_all_that_it_made():
    run = EvaluateConfig(model=["m"], data=["digits"], save_adversarial=8, sanity=True)
    rows = [SimpleNamespace(model="m", attack="pgd-10", eps=1 / 255)]
    for whole in (True, False):
        _, _, *argv = shlex.split(evaluate_command(to_plain(run), rows, whole=whole))
        again = parse_evaluate(argv)
        # A row needs neither the images nor the checks.
        assert (again.save_adversarial, again.sanity) == ((8, True) if whole else (0, False))


def test_a_number_of_one_is_no_truth_value():
    request = to_plain(EvaluateConfig(model=["a b"], data=["digits"], samples=1, baseline=False))
    row = SimpleNamespace(model="a b", attack="pgd-10", eps=1 / 255)
    _, _, *argv = shlex.split(evaluate_command(request, [row]))
    again = parse_evaluate(argv)
    assert (again.model, again.samples, again.baseline) == (["a b"], 1, False)
