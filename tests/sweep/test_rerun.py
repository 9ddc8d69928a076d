"""A run and its repetition: the same bit for bit, or said to differ where it was altered."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from zsrobust.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def data(photos):
    return f"imagefolder:{photos(classes=2, images=8)}"


@pytest.fixture
def run(small_clip, data, tmp_path):
    argv = ["finetune", "--method=tecoa", "--model", small_clip, "--data", data]
    argv += ["--steps=2", "--batch_size=4", "--hold_out=0.25", "--optimizer.lr=0.05"]
    assert main([*argv, "--device=cpu", "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_a_fine_tuning_is_the_same_until_a_value_or_the_environment_is_not(run, capsys):
    capsys.readouterr()
    assert main(["rerun", str(run)]) == 0
    again = run.with_name("run-again")
    said = capsys.readouterr().out
    assert f"{again} is {run} bit for bit" in said
    assert "the environment is the same in all that is recorded of it" in said
    ours, theirs = (load_file(path / "model" / "model.safetensors") for path in (run, again))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())

    name, value = next((n, v) for n, v in ours.items() if v.is_floating_point() and v.numel() > 1)
    value.view(-1)[1] += 0.5
    save_file(ours, run / "model" / "model.safetensors")
    (lines := (run / "metrics.jsonl").read_text().splitlines()).pop()
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    where = json.loads((run / "environment.json").read_text())
    now, where[-1]["torch"] = where[-1]["torch"], "1.0"
    (run / "environment.json").write_text(json.dumps(where))
    assert main(["rerun", str(run), "--out", str(again), "--json"]) == 1
    out, said = capsys.readouterr()
    assert f"model/model.safetensors {name}: 1 of {value.numel()} differ, by at most 0.5" in said
    assert "metrics.jsonl held_out robust_acc: 1 of 2 differ" in said
    assert f"torch: 1.0 then, {now} now" in said
    assert f"{again} is not {run} bit for bit" in said
    told = json.loads(out)
    assert not told["same"]
    assert told["environment"] == {"torch": ["1.0", now]}


def test_an_evaluation(small_clip, data, tmp_path, capsys):
    argv = ["evaluate", "--model", small_clip, "--data", data, "--attack", "pgd-2"]
    assert main([*argv, "--device=cpu", "--out", str(tmp_path / "run")]) == 0
    assert main(["rerun", str(tmp_path / "run"), "--out", str(tmp_path / "new")]) == 0
    assert "bit for bit" in capsys.readouterr().out
    path = tmp_path / "run" / "outcomes.parquet"
    table = pq.read_table(path).to_pydict()
    table["adversarial_loss"][3] += 1.0
    pq.write_table(pa.table(table), path)
    assert main(["rerun", str(tmp_path / "run"), "--out", str(tmp_path / "new")]) == 1
    assert "outcomes.parquet adversarial_loss: 1 of 16 differ, by at most 1" in (
        capsys.readouterr().out
    )


def test_what_cannot_be_repeated_is_refused(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for argv, message in (
        ([str(tmp_path / "empty")], "is no run folder of zsrobust finetune or evaluate"),
        ([str(run), "--out", str(run)], "is the run itself"),
        ([], "RUN"),
    ):
        assert main(["rerun", *argv]) == 2
        assert message in capsys.readouterr().err
    (run / "model" / "model.json").unlink()
    assert main(["rerun", str(run)]) == 2
    assert "is not finished: it has no model/model.json" in capsys.readouterr().err
