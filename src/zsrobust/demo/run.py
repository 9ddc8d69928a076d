"""Run a plan: fine-tune, evaluate, draw; cut off, it goes on from the run folders it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zsrobust.config.schema import Device
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.demo.clock import Clock, stages
from zsrobust.demo.pictures import gallery_of_run
from zsrobust.demo.plan import Plan
from zsrobust.demo.sentence import Claim, find_claim
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.models.loading import load
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.reporting.figures.distance import distance_figure
from zsrobust.reporting.figures.gallery import gallery_figure
from zsrobust.reporting.figures.series import strongest
from zsrobust.reporting.figures.style import save_figure
from zsrobust.reporting.tables import accuracy_table
from zsrobust.training.finetune import finetune
from zsrobust.utils.files import write_text
from zsrobust.utils.progress import Steps


@dataclass(frozen=True)
class Shown:
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


def run_plan(plan: Plan, out: Path, *, device: Device, overwrite: bool) -> Shown:
    """Do all of it; what an earlier call finished is not done again.

    Raises:
        RequestError: before any training, if a model or data set is not to be had, or the model
            cannot tell its classes apart.
        RunError: if a part fails.
        KeyboardInterrupt: on Ctrl-C; the same call goes on from there.
    """
    model = load(plan.model)
    train = opening(plan.train, "train")()
    sets = [opening(spec, "test")() for spec in expand(plan.data)]
    for images in (train, *sets):
        # What is doubtful short of a refusal is said by training and evaluation.
        model.check_classes(images.class_names, images.templates, images.name)
    trained = len(train)
    tested = sum(min(len(images), plan.samples or len(images)) for images in sets)
    say = Steps("", 1).say
    clock = Clock(stages(plan, round(plan.hold_out * trained), tested), say)
    for name, method, seed in plan.runs:
        clock.begin()
        finetune(plan.finetuning(out, name, method, seed, device=device, overwrite=overwrite))
    clock.begin()
    evaluate(plan.evaluation(out, device=device, overwrite=overwrite))
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
    runs = [out / name for name, _, _ in plan.runs]
    figures = [
        *save_figure(accuracy_figure(run.results), out / "accuracy"),
        *save_figure(distance_figure(runs), out / "distance"),
    ]
    if gallery.items:
        figures += save_figure(gallery_figure(gallery), out / "gallery")
    return Shown(run, claim, table, figures, clock.elapsed)
