"""The parameters of an objective's own: their rate, their rhythm, and their direction."""

from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.config.schema import Optimizer
from zsrobust.data.batch import Batch
from zsrobust.models.loading import load
from zsrobust.objectives import LORE, HeadUpdates, Objective
from zsrobust.objectives.base import Needs
from zsrobust.training import trainer
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.finetune import finetune
from zsrobust.training.step import TrainingStep, learning_rate, make_optimizer
from zsrobust.utils.distributed import make_accelerator


@dataclass(frozen=True)
class MeanOfHead(Objective):
    """The mean of a linear head, whose gradient in its bias is 1."""

    updates: HeadUpdates

    @property
    def needs(self):
        return Needs(student=frozenset({"clean"}), attack=None)

    @property
    def label(self):
        return "mean_of_head"

    @property
    def head_updates(self):
        return self.updates

    def loss(self, step):
        return {"total": step.mean(step.head(step.student["clean"].float())[:, 0])}


@pytest.mark.parametrize(
    ("updates", "change"),
    [
        (HeadUpdates(), [-0.1, -0.1, -0.1, -0.1]),
        (HeadUpdates(every=2), [0, -0.1, 0, -0.1]),
        (HeadUpdates(lr=0.5), [-0.5, -0.5, -0.5, -0.5]),
        (HeadUpdates(lr=0.5, every=3, ascend=True), [0, 0, 0.5, 0]),
        (HeadUpdates(ascend=True), [0.1, 0.1, 0.1, 0.1]),
    ],
)
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_rate_rhythm_and_direction(small_clip, updates, change, name):
    """A step of SGD is rate times gradient; AdamW's first is its rate times the gradient's sign,
    and so are all where the gradient stays the same."""
    model, accelerator = load(small_clip), make_accelerator("cpu")
    head = nn.Linear(model.encoder.proj.shape[1], 1)
    encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator, head=head)
    objective = MeanOfHead(updates)
    settings = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "head": objective.head_updates}
    step = TrainingStep(
        objective=objective,
        attack=PGD(ThreatModel()),
        encoder=encoder,
        classifier=model.classifier(["cat", "dog"]),
        original=deepcopy(model.encoder),
        optimizer=make_optimizer(encoder, name, **settings),
        accelerator=accelerator,
    )
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, torch.tensor([0, 1, 0, 1]), list("abcd"))
    for done, expected in enumerate(change):
        before = deepcopy(head.state_dict())
        proj = encoder.raw.proj.detach().clone()
        step([batch], epoch=0, global_batch=4, done=done)
        moved = head.bias.detach() - before["bias"]
        assert float(moved) == pytest.approx(expected, abs=1e-5), done
        if not expected:
            assert all(torch.equal(head.state_dict()[key], value) for key, value in before.items())
        assert not torch.equal(encoder.raw.proj, proj), "the encoder moves in every step"


@pytest.mark.slow
def test_the_head_follows_the_schedule_at_its_own_peak(config, monkeypatch):
    rates, step = [], trainer.TrainingStep.__call__

    def recorded(self, *parts, **given):
        rates.append([group["lr"] for group in self.optimizer.param_groups])
        return step(self, *parts, **given)

    monkeypatch.setattr(trainer.TrainingStep, "__call__", recorded)
    optimizer = Optimizer(name="adamw", lr=0.002, warmup_steps=2)
    objective = LORE(dual_lr=0.03)
    finetune(config(method="lore", objective=objective, optimizer=optimizer, steps=4))
    schedule = {"warmup_steps": 2, "total_steps": 4}
    assert rates == [
        [learning_rate(done, peak=peak, **schedule) for peak in (0.002, 0.03)] for done in range(4)
    ]
