"""The training step of this package, built as in ``zsrobust finetune``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from benchmarks.authors import LR, TEMPLATE
from benchmarks.setting import EPS, Setting
from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.objectives import PMGAFT, Objective, TeCoA
from zsrobust.training.compiling import compile_blocks
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.utils.distributed import make_accelerator


class OurStep:
    """One training step; every call uses the same batch."""

    def __init__(self, setting: Setting, objective: Objective) -> None:
        model = setting.loaded()
        self.step = _training_step(setting, model, objective)
        images, labels = setting.images(model.preprocessing.image_size)
        ids = [str(index) for index in range(setting.batch)]
        self.batch, self.size = Batch(images, labels, ids), setting.batch

    def __call__(self) -> float:
        return self.step([self.batch], epoch=0, global_batch=self.size)["total"]


def our_step(setting: Setting, pmg_aft: bool) -> Callable[[], object]:
    # The preset ``paper`` is the loss of ``benchmarks.authors``.
    return OurStep(setting, PMGAFT(preset="paper") if pmg_aft else TeCoA())


def _training_step(setting: Setting, model, objective: Objective) -> TrainingStep:
    original = copy.deepcopy(model.encoder).eval().requires_grad_(False)
    accelerator = make_accelerator(setting.device)
    encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator)
    if setting.compiled:
        for one in (encoder.raw, original):
            compile_blocks(one)
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
