import json

import pytest

from zsrobust.evaluation.results import Results, Row


@pytest.fixture
def results():
    """Results from lines of set, model, method, seen, attack, n, clean and robust counts."""

    def make(lines, recipes=None):
        rows = [
            Row.counted(
                dataset=dataset,
                split="test",
                model=model,
                method=method,
                seen=seen,
                resolution=32,
                attack=attack,
                norm="linf",
                eps=4 / 255,
                key="",
                n=n,
                clean=clean,
                robust=robust,
            )
            for dataset, model, method, seen, attack, n, clean, robust in lines
        ]
        models = {
            row.model: {"source": "clip", "recipe": (recipes or {}).get(row.model, "")}
            for row in rows
        }
        return Results({"models": models}, {}, rows)

    return make


@pytest.fixture
def run_folder(tmp_path):
    """A finished fine-tuning run as far as the distance figure reads it."""

    def make(name, method, distances, step, distance):
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True)
        lines = [
            {"kind": "train", "step": at, "relative_l2_distance": moved}
            for at, moved in distances.items()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
        card = {
            **{"schema": 1, "source": "x", "preprocessing": "clip", "recipe": "", "text": ""},
            **{"loader_resize": "clip", "templates": [], "seen": [], "sha256": ""},
            **{"logit_scale": 1.0, "method": method, "step": step},
            "relative_l2_distance": distance,
        }
        (folder / "model" / "model.json").write_text(json.dumps(card))
        return folder

    return make
