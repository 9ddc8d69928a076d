"""Fine-tunes in one of several processes and writes down what happened, step by step.

Started as ``observed_run.py RECIPE FOLDER``; leaves ``FOLDER/events-RANK.json``: for each step a
list of ``attack``, ``attacked``, ``forward`` (of the student, as training calls it) and ``reduce``
(a bucket of gradients is sent).
"""

import json
import os
import sys
from pathlib import Path

from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from zsrobust.cli.main import main
from zsrobust.training import trainer
from zsrobust.training.step import TrainingStep
from zsrobust.utils import watchdog as watch

recipe, folder = sys.argv[1:3]
rank = os.environ.get("RANK", "0")
steps: list[list[str]] = []
trainer.STEPS_BETWEEN_METRICS = 1
watch.BEAT, watch.SILENCE, watch.GRACE = 0.2, float(os.environ.get("SILENCE", "60")), 1.0
take_step = TrainingStep.__call__


def observe(step: TrainingStep) -> None:
    def reduce(state, bucket):
        steps[-1].append("reduce")
        return allreduce_hook(state, bucket)

    if isinstance(step.encoder.student, DistributedDataParallel):
        step.encoder.student.register_comm_hook(None, reduce)
    step.encoder.student.register_forward_pre_hook(lambda *_: steps[-1].append("forward"))
    adversarial = type(step.objective).adversarial

    def observed(self, context):
        steps[-1].append("attack")
        images = adversarial(self, context)
        steps[-1].append("attacked")
        return images

    type(step.objective).adversarial = observed


def observed_step(self, *given, **options):
    if not steps:
        observe(self)
    steps.append([])
    return take_step(self, *given, **options)


TrainingStep.__call__ = observed_step
code = main(["--debug", "finetune", "--config", recipe])
Path(folder, f"events-{rank}.json").write_text(json.dumps(steps))
sys.exit(code)
