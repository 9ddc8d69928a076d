import json
import signal

import pytest

from zsrobust.cli.main import main
from zsrobust.config.schema import EvaluateConfig, Optimizer
from zsrobust.evaluation.comparison.paired import compare
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.results import failed
from zsrobust.objectives import FTClean
from zsrobust.training import trainer
from zsrobust.training.finetune import finetune
from zsrobust.training.held_out import HeldOut
from zsrobust.training.metrics import read_metrics
from zsrobust.training.step import TrainingStep
from zsrobust.utils.errors import Stopped
from zsrobust.utils.units import Eps


@pytest.fixture
def short(config):
    """Steps of plain fine-tuning, the held-out images looked at after each."""

    def make(out, **changes):
        plain = {"method": "ft_clean", "objective": FTClean(), "steps": 3, "evaluate_every": 1}
        return config(out, hold_out=0.4, **{**plain, **changes})

    return make


@pytest.fixture
def scripted(monkeypatch):
    """Lets the evaluations on held-out images come out as given, one after the other."""

    def script(*outcomes):
        left = iter(outcomes)
        monkeypatch.setattr(trainer, "evaluate_held_out", lambda *_: next(left))

    return script


def held_out(run):
    return [row for row in read_metrics(run / "metrics.jsonl") if row["kind"] == "held_out"]


def outcome(accuracy):
    """Of 200 images of ten classes, all predicted as often as they are there."""
    return HeldOut(accuracy, accuracy, 200, 0.1, "seven", 0.1, 0.1)


@pytest.mark.slow
def test_a_learning_rate_too_high_is_reported_everywhere(short, photos, tmp_path, capsys):
    run = finetune(short("run", optimizer=Optimizer(lr=500, warmup_steps=0)))
    said = " ".join(capsys.readouterr().err.split())
    first, *_, last = held_out(run.folder)
    assert first["warning"] == ""
    assert (last["top_predicted"], last["n"]) == (1.0, 22)
    assert last["clean_acc"] == last["chance_acc"] == last["top_labelled"]
    assert last["warning"] == run.warnings[-1]
    for expected in ("step 3", f"'{last['top_class']}'", "100.0%", "n 22", "27.3%"):
        assert expected in last["warning"]
    assert f"warning: {last['warning']}" in said
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert card["held_out"]["warning"] == run.warnings[0]

    assert main(["finetune", "--config", str(run.folder / "config.yaml"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["warnings"] == list(run.warnings)
    for line in run.warnings:
        assert f"warning: {line}" in err
    assert "optimizer.lr" in err

    settings = EvaluateConfig(
        **{"model": [str(run.folder)], "data": [photos], "attack": ["pgd-2"]},
        **{"eps": [Eps("1/255")], "device": "cpu", "out": str(tmp_path / "evaluated")},
    )
    rows = evaluate(settings).rows
    assert [row.top_predicted for row in rows if row.model == str(run.folder)] == [1.0]
    capsys.readouterr()
    assert main(["evaluate", "--config", str(tmp_path / "evaluated" / "config.yaml")]) == 0
    assert f"warning: {run.folder} predicts" in capsys.readouterr().err
    (finding,) = failed(evaluate(settings).findings)
    assert "100.0%" in finding.sentence
    (pair,) = compare(tmp_path / "evaluated").pairs
    assert f"warning: {finding.sentence}" in pair.remarks
    assert main(["seeds", str(tmp_path / "evaluated")]) == 0
    assert finding.sentence in capsys.readouterr().err


def test_a_model_at_chance_and_one_that_lost_most(short, scripted):
    scripted(outcome(0.95), outcome(0.1), outcome(0.3), outcome(0.9))
    run = finetune(short("run"))
    before, at_chance, lost, after = (row["warning"] for row in held_out(run.folder))
    assert (before, after) == ("", "")
    for expected in ("step 1", "at chance", "10.0%", "95.0%", "n 200"):
        assert expected in at_chance
    for expected in ("step 2", "lost most", "30.0%", "95.0%", "n 200"):
        assert expected in lost
    # It recovered: what is kept has not collapsed.
    assert run.warnings == ()


def test_a_collapse_after_the_best_step_is_reported(short, scripted):
    scripted(outcome(0.95), outcome(0.9), outcome(0.9), outcome(0.1))
    run = finetune(short("run"))
    assert run.clean_acc == 0.9
    (line,) = run.warnings
    assert "step 3" in line
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert card["held_out"]["warning"] == ""


def test_a_resumed_run_knows_its_original(short, scripted, signalled):
    scripted(outcome(0.95), outcome(0.9), outcome(0.9), outcome(0.1))
    with signalled(signal.SIGTERM, 1), pytest.raises(Stopped):
        finetune(short("run"))
    (line,) = finetune(short("run")).warnings
    assert "95.0%" in line


def test_a_set_that_is_hard_from_the_start_raises_no_alarm(short, scripted):
    scripted(*(outcome(0.11) for _ in range(4)))
    assert finetune(short("run")).warnings == ()


def test_a_collapse_between_evaluations_shows_on_training_batches(
    short, scripted, signalled, monkeypatch, capsys
):
    """With few held-out images, or few evaluations, nothing else would tell."""
    accuracies = iter([1.0] + 11 * [0.0])
    monkeypatch.setattr(
        TrainingStep,
        "__call__",
        lambda *_, **__: {"total": 1.0, "grad_norm": 1.0, "clean_acc": next(accuracies)},
    )
    scripted(outcome(0.11), outcome(0.11))
    settings = {"steps": 12, "evaluate_every": 12}
    with signalled(signal.SIGTERM, 1), pytest.raises(Stopped):
        finetune(short("run", **settings))
    (line,) = finetune(short("run", **settings)).warnings
    assert "100.0%" in line
    said = " ".join(capsys.readouterr().err.split())
    assert said.count(line) == 1
    assert said.index(line) < said.index("step 12: on")
    # Printed again by the same command, as the finished run's other results are.
    assert finetune(short("run", **settings)).warnings == (line,)
