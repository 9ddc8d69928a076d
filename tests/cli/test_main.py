import json
import os
import re
import subprocess
import sys

import pytest

from zsrobust.cli.main import main


@pytest.fixture
def data(photos):
    return f"imagefolder:{photos(classes=2, images=8)}"


@pytest.fixture
def finetune(small_clip, data, tmp_path):
    argv = ["finetune", "--config", "pmg_aft", "--model", small_clip, "--data", data]
    argv += ["--steps=2", "--batch_size=4", "--hold_out=0.25", "--optimizer.warmup_steps=0"]
    return [*argv, "--device=cpu", "--out", str(tmp_path / "run")]


def test_finetune_then_evaluate(finetune, data, small_clip, tmp_path, capsys):
    assert main([*finetune, "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert run["steps"] == 2
    evaluate = ["evaluate", "--model", run["folder"], "--data", data, "--attack", "pgd-2"]
    evaluate += ["--eps", "1/255", "4/255", "--device", "cpu", "--out", str(tmp_path / "eval")]
    assert main([*evaluate, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in results["results"]] == 2 * [small_clip] + 2 * [run["folder"]]
    assert main(evaluate) == 0
    shown = capsys.readouterr().out
    for argv in ("photos (seen)", "pgd-2 1/255", "pgd-2 4/255"):
        assert argv in " ".join(shown.split())


@pytest.mark.slow
def test_compare_seeds_and_published_rows(finetune, data, small_clip, tmp_path, capsys):
    assert main(finetune) == 0
    argv = ["evaluate", "--model", str(tmp_path / "run"), "--data", f"{data},name=cifar10"]
    argv += ["--attack", "pgd-10", "--device", "cpu", "--compare", "published"]
    for seed in ("0", "1"):
        assert main([*argv, "--seed", seed, "--out", str(tmp_path / seed)]) == 0
    shown = capsys.readouterr().out
    assert "arXiv:2410.21802" in shown
    assert main(["compare", str(tmp_path / "0")]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'run'} against {small_clip}" in shown
    assert "not distinguishable" in shown
    assert main(["compare", str(tmp_path / "0"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"]
    assert main(["seeds", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    assert "pmg_aft[authors_code]" in capsys.readouterr().out
    assert main(["seeds", "--json", str(tmp_path / "0"), str(tmp_path / "1")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in told["results"]} >= {"original", "pmg_aft[authors_code]"}
    # One model a method, in two evaluations: no spread over seeds, and JSON has no word for nan.
    assert {row["seeds"] for row in told["results"]} == {1}
    assert told["results"][0]["clean"]["interval"] == [None, None]


def test_recipes_for_people_and_for_machines(capsys):
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    assert main(["recipes", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == shown
    told = json.loads(out)
    assert set(told) == {"finetune", "evaluate"}
    for titles in told.values():
        for name, title in titles.items():
            assert f" {name} {title} " in " ".join(shown.split()) + " "


@pytest.mark.parametrize(("colours", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(monkeypatch, capsys, colours, coloured):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    for name, value in colours.items():
        monkeypatch.setenv(name, value)
    assert main(["doctor"]) == 0
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", capsys.readouterr().out)) == coloured


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--version"], 0, ""),
        ([], 0, ""),
        (["finetun"], 2, "there is no command 'finetun': did you mean finetune"),
        (["finetune", "--config", "nope"], 2, "there is no file or recipe 'nope'"),
        (["evaluate", "--model", "x"], 2, "missing: --data"),
        (["compare"], 2, "write zsrobust compare RUN_A RUN_B"),
        (["compare", "/nowhere"], 2, "/nowhere"),
        (["seeds"], 2, "write zsrobust seeds RUN RUN"),
        (["recipes", "all"], 2, "unrecognized arguments: all"),
        (["evaluate", "--model", "ViT-Z/openai", "--data", "digits"], 2, "'ViT-Z/openai'"),
    ],
)
def test_exit_codes(argv, code, message, capsys):
    assert main(argv) == code
    assert message in capsys.readouterr().err


def test_a_changed_run_is_refused_and_can_be_overwritten(finetune, capsys):
    assert main(finetune) == 0
    assert main([*finetune, "--seed=5"]) == 2
    assert "holds another run (seed: 0 there, 5 asked)" in capsys.readouterr().err
    assert main([*finetune, "--seed=5", "--overwrite=true"]) == 0


def test_damaged_files_are_named(finetune, data, tmp_path, capsys):
    assert main(finetune) == 0
    checkpoints = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))
    for path in checkpoints:
        whole = (path / "weights.safetensors").read_bytes()
        (path / "weights.safetensors").write_bytes(whole[:-5])
    assert main(finetune) == 2
    assert "no checkpoint is whole: use overwrite" in capsys.readouterr().err
    model = tmp_path / "run" / "model" / "model.safetensors"
    content = bytearray(model.read_bytes())
    content[-3] ^= 1
    model.write_bytes(content)
    assert main(["evaluate", "--model", str(tmp_path / "run"), "--data", data]) == 2
    assert "model.safetensors is damaged" in capsys.readouterr().err


def test_an_earlier_checkpoint_stands_in_for_a_damaged_one(finetune, tmp_path, capsys):
    assert main(finetune) == 0
    newest = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1]
    (newest / "state.json").unlink()
    assert main(finetune) == 0
    assert f"checkpoint {newest} is damaged" in capsys.readouterr().err


def test_bad_folders(finetune, tmp_path, capsys):
    argv = finetune[:-1]
    (tmp_path / "file").touch()
    assert main([*argv, str(tmp_path / "file")]) == 2
    assert "is a file: name a folder" in capsys.readouterr().err
    assert main([*argv, "/proc/run"]) == 2
    assert "out /proc/run cannot be written" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert main([*argv, str(tmp_path / "mine"), "--overwrite=true"]) == 2
    assert "is no run folder" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_print_config(finetune, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*finetune, "--print_config"])
    assert stopped.value.code == 0
    assert "eps: 1/255" in capsys.readouterr().out


@pytest.mark.slow
def test_importing_takes_nothing_along(tmp_path):
    """The package itself is light; no file is written and no device touched by importing it."""
    script = (
        "import sys, zsrobust\n"
        "assert 'torch' not in sys.modules\n"
        "zsrobust.load, zsrobust.evaluate, zsrobust.finetune, zsrobust.recipe\n"
        "import torch\n"
        "assert not torch.cuda.is_initialized()\n"
        "assert sorted(zsrobust.__all__) == zsrobust.__all__ and dir(zsrobust)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
        env={"ZSROBUST_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)},
    )
    assert list(tmp_path.iterdir()) == []


def test_a_failure_spells_out_what_would_steer_the_terminal(capsys):
    assert main(["evaluate", "--model", "glyph-clip", "--data", "imagefolder:a\x1b[2J"]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"a\x1b[2J" in said


def test_a_reader_that_is_gone_is_no_failure():
    """As in ``zsrobust recipes | head -1``."""
    reads, writes = os.pipe()
    os.close(reads)
    run = subprocess.run(
        [sys.executable, "-m", "zsrobust", "recipes"], stdout=writes, stderr=subprocess.PIPE
    )
    os.close(writes)
    assert (run.returncode, run.stderr) == (141, b"")
