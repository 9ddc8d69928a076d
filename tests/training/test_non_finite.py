"""A step that is not finite stops the run or is skipped, and can be computed anew from a file."""

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.config.schema import to_plain
from zsrobust.data.batch import Batch
from zsrobust.objectives import PMGAFT, TeCoA
from zsrobust.training import non_finite
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics
from zsrobust.training.non_finite import MOST_IN_A_ROW, NonFiniteSteps
from zsrobust.training.replay import replay
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.errors import Diverged, NonFinite, RequestError

pytestmark = pytest.mark.slow


@pytest.fixture
def broken(monkeypatch):
    """Puts NaN into the adversarial images of these steps, counted over all calls."""

    def at(*steps, how=lambda images: images * float("nan")):
        adversarial, calls = PMGAFT.adversarial, []

        def breaking(self, *given):
            calls.append(1)
            images = adversarial(self, *given)
            return how(images) if len(calls) in steps else images

        monkeypatch.setattr(PMGAFT, "adversarial", breaking)

    return at


def trained_steps(folder):
    return [row["step"] for row in read_metrics(folder / "metrics.jsonl") if row["kind"] == "train"]


def test_skipping_leaves_weights_moments_and_average_as_they_were(config, weights, broken):
    """All trained tensors are those that the record holds of before the step."""
    settings = config(steps=1, evaluate_every=1, ema=0.5, non_finite="skip")
    broken(1)
    run = finetune(settings)
    after = weights(run.folder)
    before = load_file(run.folder / "non_finite" / "step-00000001" / "step.safetensors")
    before = {key.removeprefix("trained."): v for key, v in before.items() if "trained." in key}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    (newest,) = run.folder.glob("checkpoints/step-00000001")
    assert load_file(newest / "optimizer.safetensors") == {}
    assert trained_steps(run.folder) == []


def test_a_skipped_step_is_reported_and_counted(config, broken, capsys):
    broken(3)
    run = finetune(config(non_finite="skip"))
    (row,) = [r for r in read_metrics(run.folder / "metrics.jsonl") if r["kind"] == "non_finite"]
    assert (row["step"], row["problem"]) == (3, "loss is nan")
    assert json.loads((run.folder / "model" / "model.json").read_text())["skipped_steps"] == 1
    record = run.folder / "non_finite" / "step-00000003"
    said = " ".join(capsys.readouterr().err.split())
    assert f"warning: step 3 was skipped: loss is nan; its images, ids and weights are in {record}"
    assert "step 3 was skipped" in said
    about = json.loads((record / "step.json").read_text())
    assert (about["step"], about["figures"]["total"]) == (3, "nan")
    (ids,) = about["sample_ids"]
    assert len(set(ids)) == 8
    assert all(name.startswith("class_") for name in ids)


def test_stopping_names_the_step_and_where_its_images_are(config, broken):
    broken(3)
    with pytest.raises(Diverged, match=r"loss is nan at step 3; .* ids and weights are in ") as why:
        finetune(config())
    # What to do is options to copy: a third of the rate, in the same folder.
    advised = re.search(
        r"with optimizer\.lr (\S+) and overwrite true, or with optimizer\.clip_norm 1$",
        str(why.value),
    )
    rate = config().optimizer.lr
    assert rate / 4 < float(advised[1]) < rate / 2
    assert (Path(config().out) / "non_finite" / "step-00000003" / "step.json").is_file()


def test_a_record_replays_to_the_same_figures(config, monkeypatch):
    """By a weight that makes the loss overflow, so that nothing has to be broken to replay it."""
    settings = config(method="pmg_aft", objective=PMGAFT(alpha=1e38, beta=1e38))
    with pytest.raises(Diverged, match=r"(loss|gradient) is (inf|nan) at step 1"):
        finetune(settings)
    record = Path(settings.out) / "non_finite" / "step-00000001"
    kept = json.loads((record / "step.json").read_text())["figures"]
    found = replay(record)
    assert {key: repr(value) for key, value in found.items()} == kept
    assert not math.isfinite(found["total"]) or not math.isfinite(found["grad_norm"])


def test_without_the_cause_a_replay_is_the_step_as_it_would_have_been(config, broken, monkeypatch):
    whole = config("whole", steps=1, evaluate_every=1)
    expected = next(
        row for row in read_metrics(finetune(whole).folder / "metrics.jsonl") if "total" in row
    )
    with monkeypatch.context():
        broken(1)
        with pytest.raises(Diverged):
            finetune(replace(whole, out=str(Path(whole.out).with_name("broken"))))
    found = replay(Path(whole.out).with_name("broken") / "non_finite" / "step-00000001")
    assert found == {key: expected[key] for key in found}


def test_a_damaged_record_is_refused(config, broken, tmp_path):
    with pytest.raises(RequestError, match="is no record of a step"):
        replay(tmp_path)
    broken(1)
    with pytest.raises(Diverged):
        finetune(config())
    record = Path(config().out) / "non_finite" / "step-00000001"
    path = record / "step.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RequestError, match="or damaged"):
        replay(record)


def test_an_attack_without_a_gradient_is_met_by_the_same_policy(config, monkeypatch):
    adversarial, calls = PMGAFT.adversarial, []

    def failing(self, *given):
        calls.append(1)
        if len(calls) == 2:
            raise Diverged("the attack met a gradient that is not a number")
        return adversarial(self, *given)

    monkeypatch.setattr(PMGAFT, "adversarial", failing)
    run = finetune(config(non_finite="skip"))
    rows = read_metrics(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "non_finite"] == [2]


def test_too_many_in_a_row_stop_it_all_the_same(config, broken):
    steps = MOST_IN_A_ROW + 4
    broken(*range(3, steps))
    with pytest.raises(Diverged, match=rf"at step {steps - 1}, after {MOST_IN_A_ROW} skipped in a"):
        finetune(config(steps=steps, evaluate_every=steps, non_finite="skip"))


def test_fewer_in_a_row_do_not_and_only_the_first_are_saved(config, broken, monkeypatch):
    monkeypatch.setattr(non_finite, "MOST_IN_A_ROW", 2)
    broken(1, 2, 4, 5, 7, 8)
    run = finetune(config(steps=9, evaluate_every=9, non_finite="skip"))
    assert sorted(path.name[-1] for path in (run.folder / "non_finite").iterdir()) == list("124")
    rows = read_metrics(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "non_finite"] == [1, 2, 4, 5, 7, 8]


def test_resumed_it_ends_with_the_same_weights(config, weights, broken, monkeypatch):
    settings = {"checkpoint_every": 1, "keep_checkpoints": 9, "non_finite": "skip"}
    with monkeypatch.context():
        broken(4)
        whole = finetune(config("whole", **settings))
    cut = Path(config("cut").out)
    shutil.copytree(whole.folder, cut)
    for step in (3, 4, 5, 6):
        shutil.rmtree(cut / "checkpoints" / f"step-{step:08d}")
    monkeypatch.undo()
    broken(2)
    finetune(config("cut", **settings))
    ours, theirs = weights(cut), weights(whole.folder)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert trained_steps(cut) == trained_steps(whole.folder)


BROKEN_ON_ONE = """
import sys
from accelerate import PartialState
from zsrobust.utils.errors import Diverged
from zsrobust.objectives import PMGAFT
from zsrobust.config.parsing import parse_finetune
from zsrobust.training.finetune import finetune

adversarial, calls = PMGAFT.adversarial, []

def breaking(self, *given):
    calls.append(1)
    images = adversarial(self, *given)
    if len(calls) == 2 and PartialState().process_index == 1:
        raise Diverged("the attack met a gradient that is not a number")
    return images

PMGAFT.adversarial = breaking
finetune(parse_finetune(["--config", sys.argv[1]]))
"""


def test_what_one_process_meets_all_skip(config, two_processes, tmp_path):
    settings = config(non_finite="skip")
    (tmp_path / "run.py").write_text(BROKEN_ON_ONE)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(to_plain(settings)))
    run = two_processes(str(tmp_path / "run.py"), str(tmp_path / "recipe.yaml"))
    assert run.returncode == 0, run.stderr
    folder = Path(settings.out)
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "non_finite"] == [2]
    about = json.loads((folder / "non_finite" / "step-00000002" / "step.json").read_text())
    (ids,) = about["sample_ids"]
    assert len(set(ids)) == 8, "of both processes"
    # Alone and without the cause, the same batch gives a loss.
    assert math.isfinite(replay(folder / "non_finite" / "step-00000002")["total"])


def test_the_count_in_a_row_survives_a_resume(config, broken, monkeypatch):
    monkeypatch.setattr(non_finite, "MOST_IN_A_ROW", 2)
    settings = config(steps=6, evaluate_every=6, checkpoint_every=1, non_finite="skip")
    broken(1, 2, 3)
    # The third in a row stops it at step 3, with the checkpoint of step 2 saved; so it does again.
    for _ in range(2):
        with pytest.raises(NonFinite, match="at step 3, after 2 skipped in a row"):
            finetune(settings)
        broken(1)


def test_stored_statistics_are_as_before(samples, classifier):
    """A BatchNorm in training moves them in the forward pass, before the loss is known."""
    zero_shot = classifier()
    accelerator = make_accelerator("cpu")
    encoder = TrainedEncoder(
        zero_shot.encoder, torch.nn.Identity(), accelerator, train_batch_norm=True
    )
    step = TrainingStep(
        objective=TeCoA(),
        attack=PGD(ThreatModel(eps=0.01), steps=1),
        encoder=encoder,
        classifier=zero_shot,
        original=zero_shot.encoder,
        optimizer=make_optimizer(encoder, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
        accelerator=accelerator,
    )
    images, labels, ids = samples()
    step([Batch(images, labels, ids)], epoch=0, global_batch=8)
    before = {name: value.clone() for name, value in encoder.raw.state_dict().items()}
    with pytest.raises(NonFinite, match="loss is nan"):
        step([Batch(images * float("nan"), labels, ids)], epoch=0, global_batch=8)
    after = encoder.raw.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    step([Batch(images, labels, ids)], epoch=0, global_batch=8)
    statistics = [name for name in before if "running" in name]
    assert statistics
    assert not all(torch.equal(before[name], encoder.raw.state_dict()[name]) for name in statistics)


def test_the_policy_alone(tmp_path):
    stop, skip = NonFiniteSteps(tmp_path, skip=False), NonFiniteSteps(tmp_path, skip=True)
    with pytest.raises(NonFinite, match="loss is nan at step 7"):
        stop.count("loss is nan", 7)
    for step in range(MOST_IN_A_ROW):
        skip.count("loss is nan", step)
    with pytest.raises(NonFinite, match=f"after {MOST_IN_A_ROW} skipped in a row"):
        skip.count("loss is nan", 99)
    assert (skip.total, skip.in_a_row) == (MOST_IN_A_ROW, MOST_IN_A_ROW)
