"""``scripts/kill_campaign.py`` in its reduced form, and that it would see what it looks for."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_campaign.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
]


def test_killed_runs_go_on_and_end_as_if_nothing_had_been(tmp_path):
    argv = [sys.executable, str(SCRIPT), "--kills", "4", "--out", str(tmp_path / "out")]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    figures = json.loads(run.stdout)
    assert figures["kills"] == sum(figures["killed while"].values()) == 4
    assert figures["failures"] == []
    assert figures["runs"] >= 1


@pytest.fixture
def script():
    found = importlib.util.spec_from_file_location("kill_campaign", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def folders(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    model = first / "training" / "model"
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    (model / "model.json").write_text(json.dumps({"sha256": digest}))
    row = {"step": 1, "total": 0.5, "images_per_second": 1.0}
    (first / "training" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (first / "training" / ".half.tmp").write_bytes(b"{")
    shutil.copytree(first, second)
    (second / "training" / ".half.tmp").unlink()
    return first, second


def test_it_sees_a_difference(script, folders):
    first, second = folders
    (first / "training" / ".half.tmp").unlink()
    metrics = second / "training" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("1.0", "2.0"))
    assert script.differences(second, first) == []
    metrics.write_text(metrics.read_text().replace("0.5", "0.6"))
    (second / "training" / "model" / "model.safetensors").write_bytes(b"others")
    (second / "more").touch()
    assert script.differences(second, first) == [
        "more",
        "training/metrics.jsonl",
        "training/model/model.safetensors",
    ]


def test_it_sees_a_file_that_is_not_whole(script, folders):
    first, _ = folders
    assert script.damaged(first) == []
    assert script.phase(first) == "writing"
    (first / "training" / "model" / "model.safetensors").write_bytes(b"weigh")
    (first / "results.json").write_text("{")
    (first / "outcomes.parquet").write_bytes(b"PAR1")
    assert [line.split(": ")[0] for line in script.damaged(first)] == [
        str(first / name)
        for name in ("outcomes.parquet", "results.json", "training/model/model.json")
    ]
