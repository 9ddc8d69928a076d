"""The package's own step, as ``zsrobust finetune`` sets it up."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from benchmarks.authors_way import LR, TEMPLATE
from benchmarks.setting import EPS, Setting
from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.objectives import PMGAFT, Objective, TeCoA
from zsrobust.training.compiling import compile_blocks
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.utils.distributed import make_accelerator


class OurStep:
    """One fine-tuning step, called again and again on one batch."""

    def __init__(self, setting: Setting, objective: Objective) -> None:
        model = setting.loaded()
        self.step = _made(setting, model, objective)
        images, labels = setting.images(model.preprocessing.image_size)
        ids = [str(index) for index in range(setting.batch)]
        self.batch, self.size = Batch(images, labels, ids), setting.batch

    def __call__(self) -> float:
        return self.step([self.batch], epoch=0, global_batch=self.size)["total"]


def our_step(setting: Setting, guided: bool) -> Callable[[], object]:
    # The loss at the model's own scale, as the other way computes it.
    return OurStep(setting, PMGAFT(preset="paper") if guided else TeCoA())


def _made(setting: Setting, model, objective: Objective) -> TrainingStep:
    original = copy.deepcopy(model.encoder).eval().requires_grad_(False)
    accelerator = make_accelerator(setting.device)
    encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator)
    if setting.compiled:
        for tower in (encoder.raw, original):
            compile_blocks(tower)
    trained = replace(model, encoder=encoder.forward)
    return TrainingStep(
        objective=objective,
        attack=PGD(ThreatModel(eps=EPS), steps=setting.attack_steps, step_size=EPS),
        encoder=encoder,
        classifier=trained.classifier(setting.class_names(), (TEMPLATE,)).to(setting.device),
        original=original,
        optimizer=make_optimizer(encoder, "sgd", lr=LR, momentum=0.9, weight_decay=0.0),
        accelerator=accelerator,
        bf16=setting.precision == "bf16",
        attack_bf16=setting.attack_precision == "bf16",
    )
