"""What a step shows to an objective: each encoder's embeddings and tokens of the right images."""

from copy import deepcopy
from dataclasses import dataclass, field

import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.models.loading import load
from zsrobust.models.visual_prompts import embed_with_tokens
from zsrobust.objectives import SAFT, TGAZSR, AdvFLYP, CompTGA, Objective
from zsrobust.objectives.base import Needs
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.utils.distributed import make_accelerator


@dataclass(frozen=True)
class Recorder(Objective):
    """Darkens the images instead of an attack, and keeps what it is given."""

    asked: Needs
    recorded: dict = field(default_factory=dict)

    @property
    def label(self):
        return "recorder"

    @property
    def needs(self):
        return self.asked

    def adversarial(self, step):
        self.recorded["before"] = step
        return step.batch.images * 0.5

    def loss(self, step):
        self.recorded["step"] = step
        return {"total": sum(part.square().mean() for part in step.student.values())}


BOTH = frozenset({"adversarial", "clean"})


@pytest.mark.parametrize(
    "needs",
    [
        Needs(student=BOTH, teacher=BOTH, tokens=True),
        Needs(student=BOTH, teacher=frozenset({"clean"})),
        Needs(student=frozenset({"clean"}), teacher=frozenset({"adversarial"})),
        Needs(student=frozenset({"adversarial"})),
    ],
)
def test_each_encoder_sees_what_was_asked_for(small_clip, needs):
    model = load(small_clip)
    original = deepcopy(model.encoder).eval().requires_grad_(False)
    with torch.no_grad():
        model.encoder.proj.mul_(1.5)
    student_before = deepcopy(model.encoder)
    accelerator = make_accelerator("cpu")
    encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator, tokens=needs.tokens)
    recorder = Recorder(needs)
    step = TrainingStep(
        objective=recorder,
        attack=PGD(ThreatModel()),
        encoder=encoder,
        classifier=model.classifier(["cat", "dog"]),
        original=original,
        optimizer=make_optimizer(encoder, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
        accelerator=accelerator,
    )
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    step([Batch(images, torch.tensor([0, 1, 0, 1]), list("abcd"))], epoch=0, global_batch=4)

    shown = {"clean": images, "adversarial": images * 0.5}
    given = recorder.recorded["step"]
    for encoder, views, embeddings, tokens in (
        (student_before, needs.student, given.student, given.student_tokens),
        (original, needs.teacher, given.teacher, given.teacher_tokens),
    ):
        assert embeddings.keys() == views
        assert tokens.keys() == (views if needs.tokens else set())
        for view in views:
            with torch.no_grad():
                expected = embed_with_tokens(encoder, model.preprocessing(shown[view]))
            torch.testing.assert_close(embeddings[view], expected[0], atol=1e-4, rtol=1e-4)
            if needs.tokens:
                torch.testing.assert_close(tokens[view], expected[1], atol=1e-4, rtol=1e-4)
    assert not any(part.requires_grad for part in given.teacher.values())
    during_attack = recorder.recorded["before"].teacher
    assert during_attack.keys() == needs.teacher & {"clean"}
    for view, embeddings in during_attack.items():
        assert embeddings is given.teacher[view]


@pytest.mark.parametrize("preset", ["paper", "authors_code"])
@pytest.mark.parametrize("method", [TGAZSR, CompTGA, SAFT])
def test_equal_encoders_have_equal_attention(small_clip, method, preset):
    """Their distance is 0, and has no gradient: the norm's own, of rounding, would be of length 1.

    The first step moves the weights as one without the clean term does.
    """
    moves = []
    for beta in (0.05, 0.0):
        model = load(small_clip)
        before = deepcopy(model.encoder.state_dict())
        accelerator = make_accelerator("cpu")
        encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator, tokens=True)
        classifier = model.classifier(["cat", "dog"])
        objective = method(preset=preset, beta=beta)
        step = TrainingStep(
            objective=objective,
            attack=PGD(ThreatModel()),
            encoder=encoder,
            classifier=classifier,
            original=deepcopy(model.encoder).eval().requires_grad_(False),
            optimizer=make_optimizer(encoder, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
            accelerator=accelerator,
            texts=(classifier.class_embeddings, classifier.class_embeddings.roll(1, 1)),
        )
        images = torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        batch = Batch(images, torch.tensor([0, 1, 0, 1, 1]), list("abcde"))
        figures = step([batch], epoch=0, global_batch=5)
        assert figures["clean_attention"] == 0
        assert figures["attention"] > 0
        moves.append({key: model.encoder.state_dict()[key] - old for key, old in before.items()})
    assert any(move.abs().max() > 1e-4 for move in moves[0].values())
    for key, move in moves[0].items():
        torch.testing.assert_close(move, moves[1][key], atol=1e-7, rtol=1e-4)


def test_equal_embeddings_are_at_no_distance(small_clip):
    """Where nothing is perturbed and nothing trained, AdvFLYP's distances are 0, bit for bit."""
    model = load(small_clip)
    accelerator = make_accelerator("cpu")
    objective = AdvFLYP()
    encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator, apart=True)
    step = TrainingStep(
        objective=objective,
        attack=PGD(ThreatModel("linf", 0.0)),
        encoder=encoder,
        classifier=model.classifier(["cat", "dog"]),
        original=deepcopy(model.encoder).eval().requires_grad_(False),
        optimizer=make_optimizer(encoder, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
        accelerator=accelerator,
    )
    images = torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, torch.tensor([0, 1, 0, 1, 1]), list("abcde"))
    figures = step([batch], epoch=0, global_batch=5)
    assert figures["distance"] == 0
    assert figures["divergence"] == 0
    assert figures["robust"] > 0
