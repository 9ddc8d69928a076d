from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsrobust.evaluation.results import Results
from zsrobust.reporting.inputs import grouped, read_inputs
from zsrobust.reporting.verdict import verdict

N = 400


@pytest.fixture
def judged(tmp_path):
    """The verdict on models that keep the first so many of 400 samples of each of two sets."""

    def make(kept, *, methods=None, recipes=None, outcomes=True, ids=None):
        folder = tmp_path / "run"
        lines, tables = [], []
        for model, standing in kept.items():
            method = (methods or {}).get(model, model)
            for dataset in ("birds", "cars"):
                lines.append((dataset, model, method, False, N, N, standing))
                labels = np.zeros(N, int)
                same = {"model": model, "dataset": dataset, "split": "test", "attack": "pgd-10"}
                tables.append(
                    pa.table(
                        {
                            **{key: [value] * N for key, value in same.items()},
                            "eps": [4 / 255] * N,
                            "key": [f"{model} {dataset}"] * N,
                            "sample_id": [f"{(ids or {}).get(model, '')}{i:03}" for i in range(N)],
                            "label": labels,
                            "clean_prediction": labels,
                            "adversarial_prediction": np.arange(N) >= standing,
                        }
                    )
                )
        write(folder, lines, recipes)
        if outcomes:
            pq.write_table(pa.concat_tables(tables), folder / "outcomes.parquet")
        (group,) = grouped(read_inputs([folder]).evaluations)
        return verdict(group.results, group.parts, "pgd-10 4/255")

    return make


def write(folder: Path, lines, recipes):
    from zsrobust.evaluation.results import Row

    rows = [
        Row.counted(
            **{"dataset": dataset, "split": "test", "model": model, "method": method},
            **{"seen": seen, "resolution": 32, "attack": "pgd-10", "norm": "linf", "eps": 4 / 255},
            **{"key": f"{model} {dataset}", "n": n, "clean": clean, "robust": robust},
        )
        for dataset, model, method, seen, n, clean, robust in lines
    ]
    about = {"source": "clip", "weights": "w", "logit_scale": 1.0, "preprocessing": {}, "seen": []}
    models = {
        row.model: {
            **about,
            "method": row.method,
            "weights": row.model,
            "recipe": (recipes or {}).get(row.model, ""),
        }
        for row in rows
    }
    settings = {"templates": [], "loader_resize": "clip"}
    attack = {"name": "pgd-10", "threat": {"norm": "linf", "eps": 4 / 255}}
    data = {
        row.dataset: {
            **{"split": "test", "n": N, "skipped": 0, "origin": "", "class_names": ["a", "b"]},
            "attacks": [attack],
            **{f"under {model}": settings for model in models},
        }
        for row in rows
    }
    protocol = {"precision": "fp32", "robust": "", "interval": "", "seed": 0, "attacks": [attack]}
    folder.mkdir(parents=True, exist_ok=True)
    Results({**protocol, "models": models, "data": data}, {}, rows).write(folder / "results.json")


def test_a_lead_that_samples_show_is_significant(judged):
    said = judged({"original": 0, "tecoa": 100, "fare": 140})
    assert said.startswith(
        "FARE has the highest robust accuracy on the average of 2 unseen sets: 35.0"
    )
    assert "significantly more than the second, TeCoA with 25.0 %" in said
    assert "by 10.0 points (+" in said
    assert "under pgd-10 4/255, an upper bound; one training run per method" in said


def test_a_lead_within_chance_names_no_winner(judged):
    said = judged({"tecoa": 100, "fare": 102})
    assert said.startswith("No model is shown to be the most robust")
    assert "difference of 0.5 points (+0.0 to +1.1) is not significant" in said


def test_what_cannot_be_paired_is_said_not_to_be_tested(judged):
    for options in ({"outcomes": False}, {"ids": {"fare": "other-"}}):
        said = judged({"tecoa": 100, "fare": 300}, **options)
        assert "the difference was not tested" in said
        assert "significant" not in said


def test_seeds_that_disagree_leave_it_open(judged):
    methods = {f"{name}-{seed}": name for name in ("tecoa", "fare") for seed in "ab"}
    kept = {"tecoa-a": 100, "tecoa-b": 100, "fare-a": 110, "fare-b": 190}
    said = judged(kept, methods=methods, recipes=methods)
    # Differences of 2.5 and 22.5 points: Student's interval of their mean is 12.5 ± 127.
    assert said.startswith("No model is shown")
    assert "FARE, 2 seeds" in said
    assert "one training run" not in said


def test_one_model_is_compared_with_nothing(judged):
    said = judged({"tecoa": 100})
    assert said.startswith("TeCoA has 25.0 % (")
    assert "of 100.0 (" in said


@pytest.mark.parametrize("on", [{"birds", "cars"}, {"birds"}])
def test_a_model_that_has_collapsed_is_no_leader(on, tmp_path):
    """Its share of one class is not robustness; on half of the sets it still counts."""
    lines = [
        (d, m, m, False, N, N, n) for d in ("birds", "cars") for m, n in (("a", 60), ("b", 40))
    ]
    write(tmp_path / "run", lines, None)
    (group,) = grouped(read_inputs([tmp_path / "run"]).evaluations)
    rows = [
        replace(row, chance_acc=0.2, top_class="x", top_predicted=0.99, top_labelled=0.2)
        if row.model == "a" and row.dataset in on
        else row
        for row in group.results.rows
    ]
    said = verdict(replace(group.results, rows=rows), group.parts, "pgd-10 4/255")
    if len(on) == 2:
        assert said.startswith("b has ")
        assert said.endswith("a has collapsed and is left out.")
    else:
        assert "left out" not in said
        assert "a has" in said
