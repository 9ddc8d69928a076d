import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.starts import below_start, starts
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model
from zsrobust.reporting.names import display_names
from zsrobust.training.record import start_of

METHOD = "pmg_aft[paper], then tecoa"


@pytest.fixture
def again(tuned, tmp_path):
    """A model folder fine-tuned from ``tuned``."""
    model = load(tuned)
    start = start_of(tuned, METHOD, model.encoder)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.1)
    save_model(tmp_path / "again", model, METHOD, **start)
    return str(tmp_path / "again")


def test_a_starting_model_is_evaluated_as_the_original_is(
    again, tuned, small_clip, config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    results = evaluate(config(model=[again], attack=["pgd-1"]))
    models = list(dict.fromkeys((row.model, row.method) for row in results.rows))
    expected = [(small_clip, "original"), (tuned, "pmg_aft[paper]"), (again, METHOD)]
    assert models == expected
    assert starts(results) == {again: tuned}
    names = display_names(results, [name for name, _ in expected])
    assert names == {small_clip: "original", tuned: tuned, again: f"TeCoA from {tuned}"}
    # It is once in the table where it is asked for, too, and not there without a baseline.
    for models in ([again, tuned], [tuned, again]):
        both = evaluate(config(model=models, attack=["pgd-1"], out=None))
        assert {row.model for row in both.rows} == {small_clip, tuned, again}
    alone = evaluate(config(model=[again], attack=["pgd-1"], out=None, baseline=False))
    assert {row.model for row in alone.rows} == {again}


@pytest.mark.parametrize("gone", [True, False])
def test_a_start_that_is_not_to_be_had_is_said(gone, again, tuned, small_clip, config, capsys):
    if gone:
        shutil.rmtree(tuned)
    else:
        save_model(Path(tuned), replace(load(small_clip), seen=frozenset()), "pmg_aft[paper]")
    results = evaluate(config(model=[again], attack=["pgd-1"]))
    assert {row.model for row in results.rows} == {small_clip, again}
    assert f"{again} is evaluated without its starting model" in capsys.readouterr().err


def test_an_original_is_no_start(tuned):
    assert start_of("clip", "tecoa", load(tuned).encoder) == {}
    assert "start" not in load(tuned).record


def results(**correct):
    """Of a start and a model made from it, each with so many of 100 right, clean and attacked."""
    rows = [
        Row.counted(
            **{"dataset": "birds", "split": "test", "model": model, "method": "tecoa", "key": ""},
            **{"seen": False, "resolution": 32, "attack": "pgd-10", "norm": "linf"},
            **{"eps": 1 / 255, "n": 100, "clean": clean, "robust": robust},
        )
        for model, (clean, robust) in correct.items()
    ]
    begun = {"start": {"name": "start", "method": "tecoa", "weights": "start"}}
    models = {name: {"weights": name, **(begun if name == "run" else {})} for name in correct}
    return Results({"models": models}, {}, rows)


def test_a_model_below_its_start_in_both_accuracies_is_named():
    (sentence,) = below_start(results(start=(60, 40), run=(50, 30)))
    for part in ("run is below start", "50.0% to 60.0%", "pgd-10 1/255 (30.0% to 40.0%)"):
        assert part in sentence
    assert not below_start(results(start=(60, 40), run=(50, 41)))
    assert not below_start(results(start=(60, 40), run=(60, 30)))
    assert not below_start(results(run=(50, 30)))
