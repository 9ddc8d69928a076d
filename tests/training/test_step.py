"""What a step shows to an objective: each encoder's embeddings and tokens of the right images."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.models.loading import load
from zsrobust.models.patch_tokens import embed_with_tokens
from zsrobust.objectives import Objective
from zsrobust.objectives.base import Models, Needs
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.training.student import Student
from zsrobust.utils.distributed import make_accelerator


@dataclass(frozen=True)
class Recorder(Objective):
    """Darkens the images to craft, and keeps what it is given."""

    asked: Needs
    kept: dict = field(default_factory=dict)

    @property
    def label(self):
        return "recorder"

    @property
    def needs(self):
        return self.asked

    def craft(self, models, batch, attack, epoch, teacher: Mapping):
        self.kept["teacher"] = teacher
        return batch.images * 0.5

    def loss(self, outputs, labels, models, global_batch):
        self.kept["outputs"] = outputs
        return {"total": sum(part.square().mean() for part in outputs.student.values())}


BOTH = frozenset({"crafted", "clean"})


@pytest.mark.parametrize(
    "needs",
    [
        Needs(student=BOTH, teacher=BOTH, tokens=True),
        Needs(student=BOTH, teacher=frozenset({"clean"})),
        Needs(student=frozenset({"clean"}), teacher=frozenset({"crafted"})),
        Needs(student=frozenset({"crafted"})),
    ],
)
def test_each_encoder_sees_what_was_asked_for(small_clip, needs):
    model = load(small_clip)
    original = deepcopy(model.encoder).eval().requires_grad_(False)
    with torch.no_grad():
        model.encoder.proj.mul_(1.5)
    student_before = deepcopy(model.encoder)
    student = Student(model.encoder, model.preprocessing, tokens=needs.tokens)
    recorder = Recorder(needs)
    step = TrainingStep(
        objective=recorder,
        attack=PGD(ThreatModel()),
        student=student,
        models=Models(model.classifier(["cat", "dog"])),
        original=original,
        optimizer=make_optimizer(student, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
        accelerator=make_accelerator("cpu"),
    )
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    step([Batch(images, torch.tensor([0, 1, 0, 1]), list("abcd"))], epoch=0, global_batch=4)

    shown = {"clean": images, "crafted": images * 0.5}
    outputs = recorder.kept["outputs"]
    for encoder, views, embeddings, tokens in (
        (student_before, needs.student, outputs.student, outputs.student_tokens),
        (original, needs.teacher, outputs.teacher, outputs.teacher_tokens),
    ):
        assert embeddings.keys() == views
        assert tokens.keys() == (views if needs.tokens else set())
        for view in views:
            with torch.no_grad():
                expected = embed_with_tokens(encoder, model.preprocessing(shown[view]))
            torch.testing.assert_close(embeddings[view], expected[0], atol=1e-4, rtol=1e-4)
            if needs.tokens:
                torch.testing.assert_close(tokens[view], expected[1], atol=1e-4, rtol=1e-4)
    assert not any(part.requires_grad for part in outputs.teacher.values())
    given = recorder.kept["teacher"]
    assert given.keys() == needs.teacher & {"clean"}
    for view in given:
        assert given[view] is outputs.teacher[view]
