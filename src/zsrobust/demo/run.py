"""Run a plan: fine-tune, evaluate, draw; an interrupted one resumes from its run folders."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsrobust.config.schema import Device
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.demo.claim import Claim, find_claim
from zsrobust.demo.gallery import gallery_of_run
from zsrobust.demo.plan import Plan
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
from zsrobust.utils.progress import Steps, format_seconds

# What a pass through the image encoder costs, in forward passes: one with gradients costs three.
FORWARD, STEP = 1, 3
AUTOATTACK_STEPS = 700
"""About what AutoAttack spends on a sample of a robust model; an undefended one falls at once."""


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
        RequestError: before any training, if a model or data set is not to be had, or the model
            cannot tell its classes apart.
        RunError: if a part fails.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    model = load(plan.model)
    train = opening(plan.train, "train")()
    sets = [opening(spec, "test")() for spec in expand(plan.data)]
    for images in (train, *sets):
        # Training and evaluation print the warnings.
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
    return Finished(run, claim, table, figures, clock.elapsed)


@dataclass(frozen=True)
class Stage:
    """A part of the work: what it is called, and its share in forward passes."""

    title: str
    work: float


def stages(plan: Plan, held_out: int, tested: int) -> list[Stage]:
    """The training runs, then the evaluation.

    Args:
        plan: what is to be done.
        held_out: images that each run is evaluated on, twice.
        tested: images of all sets.
    """
    inner = STEP * plan.training_attack_steps
    a_step = {"ft_clean": STEP, "tecoa": inner + STEP, "pmg_aft": inner + 2 * STEP + FORWARD}
    evaluating = 2 * held_out * (FORWARD + 10 * STEP)
    training = [
        Stage(f"fine-tuning {name}", a_step[method] * plan.steps * plan.batch_size + evaluating)
        for name, method, _ in plan.runs
    ]
    a_sample = FORWARD + sum(STEP * attack_steps(attack) for attack in plan.attack)
    models = 1 + len(plan.runs)
    return [*training, Stage("evaluating", models * tested * a_sample)]


def attack_steps(attack: str) -> int:
    """About how many gradient steps an attack takes."""
    found = re.search(r"-(\d+)", attack)
    return int(found[1]) if found else AUTOATTACK_STEPS


class Clock:
    """Says at the start of each stage how far the whole is.

    Args:
        stages: all of them, in order.
        say: prints a line.
        now: seconds on a clock that only moves forward.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages, self.say, self.now = stages, say, now
        self._started, self._begun = now(), 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first stage."""
        return self.now() - self._started

    def begin(self) -> None:
        """Announce the next stage, with the time left as the pace so far has it."""
        stage = self.stages[self._begun]
        done = sum(one.work for one in self.stages[: self._begun])
        left = sum(one.work for one in self.stages[self._begun :])
        self._begun += 1
        line = f"[{self._begun}/{len(self.stages)}] {stage.title}"
        if done > 0:
            still = format_seconds(self.elapsed / done * left)
            line += f" ({format_seconds(self.elapsed)} so far, about {still} left in all)"
        self.say(line)
