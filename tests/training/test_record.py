"""How far a run got is told by its model, from the first selection to the last step."""

import json
from signal import SIGINT

import pytest

from zsrobust.cli.main import main
from zsrobust.config.schema import EvaluateConfig, TrainingAttack
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.models.loading import load
from zsrobust.training import trainer
from zsrobust.training.finetune import finetune
from zsrobust.training.held_out import HeldOut
from zsrobust.utils.errors import Stopped


@pytest.mark.slow
def test_an_interrupted_run_is_unfinished_until_it_took_its_last_step(
    config, photos, signalled, tmp_path, capsys
):
    asked = config(attack=TrainingAttack(eps=4 / 255, steps=4, step_size=None))
    with signalled(SIGINT, 5), pytest.raises(Stopped):
        finetune(asked)
    model = load(asked.out)
    assert model.unfinished == "step 4 of 6, not finished"
    assert model.record["training_set"] == {"name": "photos", "split": "all", "n": 45}
    assert model.record["held_out"]["n"] == 11
    # 2.5 eps / steps.
    assert model.record["settings"]["attack"]["step_size"] == "2.5/255"

    words = EvaluateConfig(
        model=[asked.out], data=[photos], out=str(tmp_path / "eval"), attack=["pgd-1"], samples=4
    )
    (finding,) = [one for one in evaluate(words).findings if one.check == "runs have finished"]
    assert not finding.passed
    assert "step 4 of 6, not finished" in finding.sentence
    assert main(["rerun", asked.out, "--out", str(tmp_path / "again")]) == 2
    assert "step 4 of 6" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()

    run = finetune(asked)
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert (card["finished"], card["total_steps"]) == (True, 6)
    assert load(asked.out).unfinished == ""


def test_a_step_before_the_last_may_be_the_best_of_a_finished_run(config, monkeypatch):
    worse = iter([0.9, 0.8, 0.7, 0.6])
    monkeypatch.setattr(trainer, "evaluate_held_out", lambda *_: HeldOut(next(worse), 0.0))
    run = finetune(config(evaluate_every=1, steps=3))
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert (card["step"], card["total_steps"], card["finished"]) == (1, 3, True)
    assert load(str(run.folder)).unfinished == ""


def test_clean_fine_tuning_has_no_attack_to_tell_of(config):
    run = finetune(config(method="ft_clean", steps=1))
    assert "attack" not in load(str(run.folder)).record["settings"]
