import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from zsrobust.demo.page import page
from zsrobust.demo.request import DemoRequest, claim_folder
from zsrobust.demo.run import run_plan
from zsrobust.evaluation.gallery import Gallery
from zsrobust.evaluation.results import Results
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


def run(plan, out, **changes):
    return run_plan(plan, out, **{"device": "cpu", "overwrite": False, **changes})


def test_three_methods_and_the_original_are_evaluated(plan, tmp_path, capsys):
    out = tmp_path / "out"
    shown = run(plan, out)
    results = Results.read(out / "evaluation" / "results.json")
    assert [(row.method, row.dataset) for row in results.rows] == [
        (method, name)
        for method in ("original", "ft_clean", "tecoa", "pmg_aft[authors_code]")
        for name in ("one", "other")
    ]
    for method in ("ft_clean", "tecoa", "pmg_aft"):
        assert read_metrics(out / method / "metrics.jsonl")[-1]["step"] == plan.steps
        card = json.loads((out / method / "model" / "model.json").read_text())
        assert card["step"] == plan.steps
    assert [path.name for path in shown.figures] == [
        f"{name}.{kind}" for name in ("accuracy", "distance", "gallery") for kind in ("png", "svg")
    ]
    assert all(path.stat().st_size > 1000 for path in shown.figures)
    assert shown.table.read_text().startswith("| data set |")
    said = capsys.readouterr().err
    assert "[1/4] fine-tuning ft_clean" in said
    assert "left in all" in said

    made = page(plan, shown, DemoRequest(quick=True, out=str(out)))
    text = "\n".join(made.lines)
    for expected in ("accuracy.png", "distance.png", "gallery.png", "table.md", plan.remark):
        assert expected in text
    assert "the paper's claim that PMG-AFT is better than TeCoA in both" in text
    assert f"again: zsrobust demo --quick --out {out}" in text
    over = [group[0][0] for group in made.table.groups]
    assert over == ["average of 2 unseen"]
    assert made.table.groups[0][0][2] == "16"

    # The gallery shows the very attack of the evaluation, on samples that the original has right.
    gallery = Gallery.read(out / "gallery.npz")
    outcomes = pq.read_table(out / "evaluation" / "outcomes.parquet").to_pylist()
    names = {name: about["class_names"] for name, about in results.protocol["data"].items()}
    assert 1 <= len(gallery.items) <= plan.pictures
    for item in gallery.items:
        assert item.views[0].predictions[plan.model].right
        for view in item.views[1:]:
            (kept,) = (
                row
                for row in outcomes
                if (row["model"], row["dataset"], row["sample_id"])
                == (view.against, item.dataset, item.sample_id)
            )
            if kept["clean_prediction"] == kept["label"]:
                said_now = view.predictions[view.against].name
                assert said_now == names[item.dataset][kept["adversarial_prediction"]]
            assert np.abs(view.pixels - item.views[0].pixels).max() <= plan.eps + 1e-6


def test_the_same_call_answers_from_its_folder_and_another_is_refused(plan, tmp_path):
    out = tmp_path / "out"
    first = run(plan, out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(times) > 3
    again = run(plan, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == times
    assert again.claim == first.claim
    with pytest.raises(RequestError, match="steps: 3 there, 4 asked"):
        run(replace(plan, steps=4), out)
    weights = out / "tecoa" / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RequestError, match=r"model\.safetensors is damaged"):
        run(plan, out)
    run(replace(plan, steps=4), out, overwrite=True)
    assert read_metrics(out / "pmg_aft" / "metrics.jsonl")[-1]["step"] == 4


def test_an_interrupted_run_resumes(plan, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def cut(config):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("zsrobust.demo.run.evaluate", cut)
        with pytest.raises(KeyboardInterrupt):
            run(plan, out)
    trained = {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")}
    assert len(trained) == 3
    run(plan, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("model.safetensors")} == trained


def test_several_seeds_make_intervals_over_seeds(plan, tmp_path):
    request = DemoRequest(out=str(tmp_path / "out"))
    plan = replace(plan, seeds=(0, 1), steps=2)
    shown = run(plan, tmp_path / "out")
    assert shown.claim.seeds == 2
    models = {row.model for row in shown.run.results.rows}
    assert str(tmp_path / "out" / "tecoa-seed-1") in models
    made = page(plan, shown, request)
    expected = [line[1] for group in made.table.groups for line in group]
    assert expected[:2] == ["original", "FT-Clean, 2 seeds"]
    assert any("Student's over the 2 seeds" in line for line in made.lines)


def test_missing_data_is_reported_before_training(plan, tmp_path):
    for wrong in ({"data": ("imagefolder:/nowhere",)}, {"model": "ViT-Z/openai"}):
        with pytest.raises(RequestError):
            run(replace(plan, **wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    claim_folder(tmp_path / "new", "zsrobust demo")
    claim_folder(tmp_path / "new", "zsrobust demo")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(RequestError, match="holds files and is no folder of zsrobust demo"):
        claim_folder(tmp_path / "mine", "zsrobust demo")
    with pytest.raises(RequestError, match="is a file: name a folder"):
        claim_folder(tmp_path / "mine" / "thesis.txt", "zsrobust demo")
    with pytest.raises(RequestError, match="out /proc/demo cannot be written"):
        claim_folder(Path("/proc/demo"), "zsrobust demo")
