"""Run a plan: fine-tune, evaluate, draw; an interrupted one resumes from its run folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from zsrobust.config.schema import Device
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.demo.claim import Claim, find_claim
from zsrobust.demo.gallery import gallery_of_run
from zsrobust.demo.plan import Plan
from zsrobust.evaluation.cost import expected_cost
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.models.loading import load
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.reporting.figures.distance import distance_figure
from zsrobust.reporting.figures.gallery import gallery_figure
from zsrobust.reporting.figures.series import strongest
from zsrobust.reporting.figures.style import save_figure
from zsrobust.reporting.tables import accuracy_table
from zsrobust.training.checkpoint import bytes_to_write
from zsrobust.training.cost import passes_of_run
from zsrobust.training.finetune import Run, finetune
from zsrobust.utils.files import local_path, require_room, write_text
from zsrobust.utils.progress import Steps
from zsrobust.utils.stages import Clock, Stage


@dataclass(frozen=True)
class Finished:
    """A finished demonstration.

    Attributes:
        run: the evaluation.
        claim: what it says of PMG-AFT and TeCoA.
        table: the accuracy on every set, in Markdown.
        figures: the files of every figure.
        seconds: how long this call took.
    """

    run: EvaluatedRun
    claim: Claim
    table: Path
    figures: list[Path]
    seconds: float


def run_plan(plan: Plan, out: Path, *, device: Device, overwrite: bool) -> Finished:
    """Do all of it; what an earlier call finished is not done again.

    Raises:
        RequestError: before any training, if a model or data set is not to be had, the model cannot
            tell its classes apart, or the disk has no room.
        RunError: if a part fails.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    model = load(plan.model)
    runs = [
        plan.finetuning(out, name, method, seed, device=device, overwrite=overwrite)
        for name, method, seed in plan.runs
    ]
    needed = sum(bytes_to_write(one, model.encoder, local_path(str(one.out))) for one in runs)
    require_room(out, needed, "the demonstration")
    train = opening(plan.train, "train")()
    sets = [opening(spec, "test")() for spec in expand(plan.data)]
    for images in (train, *sets):
        # Training and evaluation print the warnings.
        model.check_classes(images.class_names, images.templates, images.name)
    clock = Clock()
    say = Steps("", 1).say
    todo = stages(plan, out, len(train), [len(images) for images in sets])
    work: list[Callable[[], object]] = [partial(finetune, one) for one in runs]
    work.append(partial(evaluate, plan.evaluation(out, device=device, overwrite=overwrite)))
    for number, (stage, do) in enumerate(zip(todo, work, strict=True)):
        say(f"[{number + 1}/{len(todo)}] {stage.title}{clock.announce(todo[number:])}")
        began = time.monotonic()
        done = do()
        # What the first run reads and draws once, no other does again.
        seconds = done.seconds if isinstance(done, Run) else time.monotonic() - began
        clock.note(stage, seconds)
    run = EvaluatedRun.read(out / "evaluation")
    by_method = {
        method: [str(out / name) for name, of, _ in plan.runs if of == method]
        for method in ("tecoa", "pmg_aft")
    }
    pairs = list(zip(by_method["tecoa"], by_method["pmg_aft"], strict=True))
    claim = find_claim(run, strongest(run.results), plan.model, pairs)
    gallery = gallery_of_run(run, plan, by_method["pmg_aft"][0], device=device)
    gallery.write(out / "gallery.npz")
    table = out / "table.md"
    write_text(table, accuracy_table(run.results).as_markdown())
    folders = [out / name for name, _, _ in plan.runs]
    figures = [
        *save_figure(accuracy_figure(run.results), out / "accuracy"),
        *save_figure(distance_figure(folders), out / "distance"),
    ]
    if gallery.items:
        figures += save_figure(gallery_figure(gallery), out / "gallery")
    return Finished(run, claim, table, figures, clock.elapsed)


def stages(plan: Plan, out: Path, trained: int, sizes: Sequence[int]) -> list[Stage]:
    """The training runs, then the evaluation.

    Args:
        plan: what is to be done.
        out: folder of everything.
        trained: images of the training set.
        sizes: images of each set of the evaluation.
    """
    training = []
    for name, method, seed in plan.runs:
        config = plan.finetuning(out, name, method, seed, device="auto", overwrite=False)
        passes = passes_of_run(config, trained)
        training.append(Stage(f"fine-tuning {name}", "fine-tuning", passes))
    evaluation = plan.evaluation(out, device="auto", overwrite=False)
    passes = expected_cost(evaluation, sizes, undefended=True)
    passes += len(plan.runs) * expected_cost(evaluation, sizes, undefended=False)
    return [*training, Stage("evaluating", "evaluating", passes)]
