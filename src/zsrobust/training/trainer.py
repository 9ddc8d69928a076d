"""The training loop: steps in order, evaluations, checkpoints, and what to do when it is cut."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from zsrobust.attacks import PGD
from zsrobust.config.schema import FinetuneConfig
from zsrobust.data.batch import Batch
from zsrobust.models.clip import CLIPModel
from zsrobust.models.trained_text import TrainedText
from zsrobust.models.visual_prompts import VisualPrompt
from zsrobust.models.weights import mark_finished, save_model
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.training.batch_accuracy import BatchAccuracy
from zsrobust.training.checkpoint import WEIGHTS, gather, load_newest, save_checkpoint
from zsrobust.training.compiling import uncompiled
from zsrobust.training.cost import passes_per_step
from zsrobust.training.encoder import relative_l2_distance
from zsrobust.training.feed import Feed
from zsrobust.training.held_out import HeldOut, evaluate_held_out
from zsrobust.training.introduction import introduction
from zsrobust.training.metrics import MetricsLog, held_out_figures, shown
from zsrobust.training.non_finite import NonFiniteSteps
from zsrobust.training.record import described, hashes_of_inputs, run_record, start_of
from zsrobust.training.step import TrainingStep, learning_rate
from zsrobust.utils.distributed import on_first
from zsrobust.utils.environment import environment, record
from zsrobust.utils.errors import NonFinite, RequestError, Stopped
from zsrobust.utils.noise import sample_key
from zsrobust.utils.progress import Steps
from zsrobust.utils.signals import Interrupt

# Lines of metrics.jsonl: every so many steps, and no more than so many, however long the run.
STEPS_BETWEEN_METRICS = 10
MOST_METRICS = 10_000


@dataclass
class Trainer:
    """One run of :class:`TrainingStep`.

    Attributes:
        config: the run's configuration.
        folder: the run folder.
        model: what is saved, around ``step.encoder.evaluated``; its ``seen`` already names the
            training set.
        classifier: the same over the training set's classes.
        feed: what to train on and what to select on.
        step: one step.
        selection_attack: the attack on held-out images.
        pixels: hash of the training images where they were given as an object, else empty.
        done: steps taken.
        best: the selected model's accuracies so far.
        original: accuracies before the first step; None in runs that began without keeping them.
        held_out_now: accuracies at the last evaluation; there is one before the first step.
    """

    config: FinetuneConfig
    folder: Path
    model: CLIPModel
    classifier: ZeroShotClassifier
    feed: Feed
    step: TrainingStep
    selection_attack: PGD
    pixels: str = ""
    done: int = field(default=0, init=False)
    best: HeldOut | None = field(default=None, init=False)
    original: HeldOut | None = field(default=None, init=False)
    held_out_now: HeldOut = field(init=False)

    def __post_init__(self) -> None:
        self.total_steps = self.config.steps or self.config.epochs * self.feed.per_epoch
        warmup = self.config.optimizer.warmup_steps
        # One that outlasts the run would keep the learning rate from reaching its peak.
        self.warmup_steps = warmup if warmup < self.total_steps else self.total_steps // 10
        self.accelerator, self.encoder = self.step.accelerator, self.step.encoder
        self.first = self.accelerator.is_main_process
        self.log = MetricsLog(self.folder / "metrics.jsonl" if self.first else None)
        self.checkpoints = self.folder / "checkpoints"
        data = self.feed.train_set
        self.batches = BatchAccuracy.on(data.labels, len(data.class_names))
        self.non_finite = NonFiniteSteps(self.folder, self.config.non_finite == "skip")
        self._evaluation_seconds: float | None = None
        self.between_metrics = max(STEPS_BETWEEN_METRICS, -(-self.total_steps // MOST_METRICS))

    def run(self) -> HeldOut:
        """Train to the end; returns the selected model's accuracies on the held-out images.

        Raises:
            RequestError: if there are checkpoints and none is whole.
            Diverged: if loss, gradient or weights are not finite, and the step is not skipped.
            RunError: if the disk is full.
            Stopped: on Ctrl-C or SIGTERM, once a checkpoint is saved.
        """
        warnings = self._resume()
        self._record_environment()
        bar = Steps(
            self.step.objective.label, self.total_steps, done=self.done, quiet=not self.first
        )
        # Dropout, where a tower has it, draws from the global generator, which is given back.
        device = self.accelerator.device
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            bar,
            Interrupt() as interrupt,
        ):
            about = introduction(
                *(self.config, self.model, self.feed, self.step),
                done=self.done,
                total_steps=self.total_steps,
                warmup_steps=self.warmup_steps,
            )
            for line in [*warnings, *about]:
                bar.say(line)
            if self.resumed_state is None:
                self._evaluate(bar)
                self._save()
            self._finished_at = time.monotonic()
            for epoch, parts in self.feed.training(self.done, self.total_steps):
                self._train(epoch, parts, bar)
                if self.done < self.total_steps and (by := self._asked_to_stop(interrupt)):
                    self._save()
                    raise Stopped(
                        f"stopped at step {self.done} of {self.total_steps}; "
                        "run the same command to resume",
                        by,
                    )
            on_first(self.accelerator, lambda: mark_finished(self.folder / "model"))
            # What else a command has to do after this run is not begun.
            if by := self._asked_to_stop(interrupt):
                raise Stopped("stopped after the last step; run the same command to resume", by)
        assert self.best is not None
        return self.best

    def _train(self, epoch: int, parts: list[Batch], bar: Steps) -> None:
        for group in self.step.optimizer.param_groups:
            group["lr"] = learning_rate(
                self.done,
                peak=group["peak"],
                warmup_steps=self.warmup_steps,
                total_steps=self.total_steps,
            )
        rate: float = self.step.optimizer.param_groups[0]["lr"]
        rank = str(self.accelerator.process_index)
        torch.manual_seed(sample_key(self.config.seed, "dropout", self.done, rank, 0))
        images = self.feed.images_of(self.done)
        try:
            figures = self.step(parts, epoch=epoch, global_batch=images, done=self.done)
            self.non_finite.in_a_row = 0
            self.encoder.update_average()
        except NonFinite as error:
            self._record_non_finite(error, epoch, parts, rate, bar)
            figures = {}
        self.done += 1
        now = time.monotonic()
        speed = images / (now - self._finished_at)
        bar.further = self._seconds_of_evaluations(bar)
        bar.advance(figures=shown(figures, self.held_out_now, speed))
        if warning := self.batches.count(figures, images):
            bar.say(f"warning: {warning}; if it stays so, use a lower optimizer.lr")
        ends = self.done == self.total_steps
        if figures and (ends or self.done % self.between_metrics == 0):
            self.log.append(
                kind="train",
                step=self.done,
                lr=rate,
                images_per_second=speed,
                relative_l2_distance=self._distance(),
                **figures,
            )
        if ends or self.done % (self.config.evaluate_every or self.feed.per_epoch) == 0:
            self._select(self._evaluate(bar))
            self._save()
        elif self.done % self.config.checkpoint_every == 0:
            self._save()
        # Reading images counts as part of a step; evaluating and saving do not.
        self._finished_at = time.monotonic()

    def _record_non_finite(
        self, error: NonFinite, epoch: int, parts: list[Batch], rate: float, bar: Steps
    ) -> None:
        """Record the step after ``done``, which is not finite, and skip it if it may be."""
        step = self.done + 1
        record = self.non_finite.record(
            self.accelerator,
            parts,
            lambda: self._tensors()[WEIGHTS],
            {
                "step": step,
                "problem": str(error),
                "epoch": epoch,
                "lr": rate,
                "figures": {key: repr(value) for key, value in error.figures.items()},
            },
        )
        try:
            self.non_finite.count(str(error), step)
        except NonFinite as stop:
            raise NonFinite(
                f"{stop}; the last good checkpoint in {self.checkpoints} is kept; {record}; "
                f"start again with optimizer.lr {self.config.optimizer.lr / 3:.1g} and overwrite "
                "true"
                + ("" if self.config.optimizer.clip_norm else ", or with optimizer.clip_norm 1"),
                error.figures,
            ) from error
        self.log.append(kind="non_finite", step=step, lr=rate, problem=str(error))
        bar.say(f"warning: step {step} was skipped: {error}; {record}")

    def _evaluate(self, bar: Steps) -> HeldOut:
        self._take_text()
        if not len(self.feed.held_out):
            self.held_out_now = HeldOut()
            return self.held_out_now
        self.encoder.gather()
        bar.further = self._seconds_of_evaluations(bar) + (self._evaluation_seconds or 0)
        n, figures, began = len(self.feed.held_out), bar.figures, time.monotonic()

        def batches() -> Iterator[Batch]:
            done = 0
            for batch in self.feed.selection():
                yield batch
                done += len(batch) * self.feed.world_size
                bar.advance(0, [f"evaluating {min(done, n)}/{n} held-out images", *figures])

        with bar.outside(), uncompiled(self.config.compile):
            found = evaluate_held_out(
                self.classifier, batches(), self.selection_attack, self.accelerator
            )
        self._evaluation_seconds = time.monotonic() - began
        bar.further = self._seconds_of_evaluations(bar)
        bar.figures = held_out_figures(found)
        self.held_out_now = found = found.with_warning(self.done, self.original)
        if self.done == 0:
            self.original = found
        attack = described(self.selection_attack)
        distance = self._distance()
        self.log.append(
            kind="held_out",
            step=self.done,
            attack=attack,
            relative_l2_distance=distance,
            **asdict(found),
        )
        bar.say(
            f"step {self.done}: on {len(self.feed.held_out)} held-out images "
            f"clean {found.clean_acc:.1%}, {attack} {found.robust_acc:.1%}; "
            f"{self._moved(distance)}"
        )
        if found.warning:
            bar.say(f"warning: {found.warning}; if it stays so, use a lower optimizer.lr")
        return found

    def _take_text(self) -> None:
        """Evaluate and save with the text tower as it is now, where that is trained."""
        text = self.encoder.head
        if isinstance(text, TrainedText):
            self.classifier.class_embeddings = text.class_vectors()
            self.model = replace(self.model, text=text.as_side())

    def _seconds_of_evaluations(self, bar: Steps) -> float:
        """What those take that are still to come after this step."""
        if self.done == self.total_steps or not len(self.feed.held_out):
            return 0.0
        every = self.config.evaluate_every or self.feed.per_epoch
        left = -(-self.total_steps // every) - self.done // every
        seconds = self._evaluation_seconds or 0.0
        if not seconds and bar.pace:
            # A resumed run has not evaluated yet.
            passes = 1 + (1 + self.selection_attack.passes) * self.held_out_now.clean_acc
            step = self.feed.batch_size * passes_per_step(self.config)
            seconds = bar.pace * len(self.feed.held_out) * passes / step
        return left * seconds

    def _select(self, found: HeldOut) -> None:
        """Keep the model with the highest mean of clean and robust accuracy, the first of equals.

        The original is no candidate: it was not trained. Without held-out images the last is kept.
        """
        if self.best is not None and found.score <= self.best.score:
            return
        self.best = found
        about = {
            **run_record(self.config, self.feed, self.warmup_steps, self.selection_attack, found),
            **start_of(self.config.model, self.model.method, self.step.original),
            "step": self.done,
            "total_steps": self.total_steps,
            "finished": False,
            "skipped_images": self.feed.train_set.skipped,
            "skipped_steps": self.non_finite.total,
            "relative_l2_distance": self._distance(),
            "trained_parameters": self.encoder.parameter_counts[0],
            "parameters": self.encoder.parameter_counts[1],
        }
        on_first(
            self.accelerator,
            lambda: save_model(self.folder / "model", self.model, self.model.method, **about),
        )

    def _distance(self) -> float:
        self.encoder.gather()
        return relative_l2_distance(self.model.encoder, self.step.original)

    def _moved(self, distance: float) -> str:
        if isinstance(self.model.encoder, VisualPrompt):
            return "a visual prompt leaves the weights as they were"
        return f"weights moved by {distance:.2%}"

    def _save(self) -> None:
        state = {
            "best": asdict(self.best) if self.best else None,
            "held_out": asdict(self.held_out_now),
            "original": asdict(self.original) if self.original else None,
            "batches": self.batches.counts,
            "adversarial_batches": self.batches.adversarial,
            "inputs": self.inputs,
            "skipped_steps": [self.non_finite.total, self.non_finite.in_a_row],
        }
        tensors = self._tensors()
        on_first(
            self.accelerator,
            lambda: save_checkpoint(
                self.checkpoints, self.done, tensors, state, keep=self.config.keep_checkpoints
            ),
        )

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        """All that a checkpoint must bring back; every process must ask for it."""
        return gather(self.encoder.checkpointed, self.step.optimizer, keep=self.first)

    def _resume(self) -> list[str]:
        """Go to the newest whole checkpoint; returns what was wrong with newer ones."""
        state, problems = load_newest(
            self.checkpoints, self.encoder.checkpointed, self.step.optimizer
        )
        self.resumed_state = state
        if state is not None and state["inputs"] != self.inputs:
            raise RequestError(
                f"the training images, the original model or its prompts are not those that "
                f"{self.folder} was begun with: restore them, or use overwrite true"
            )
        if state is not None:
            self.done = int(state["step"])
            self.best = HeldOut(**state["best"]) if state["best"] else None
            self.held_out_now = HeldOut(**state["held_out"])
            self.original = HeldOut(**state["original"]) if state.get("original") else None
            self.batches.counts = state.get("batches", [])
            self.batches.adversarial = state.get("adversarial_batches", [])
            self.non_finite.total, self.non_finite.in_a_row = state.get("skipped_steps", (0, 0))
        self.log.forget_after(-1 if state is None else self.done)
        if self.done == self.total_steps and not (self.folder / "model").is_dir():
            raise RequestError(
                f"{self.folder} is finished but its model/ is gone: use overwrite true"
            )
        self.accelerator.wait_for_everyone()
        return [f"{problem}; going on from an earlier one" for problem in problems]

    def _record_environment(self) -> None:
        """Where this run is computed, unless nothing is left to compute."""
        if self.done < self.total_steps:
            here = environment(self.accelerator.device, self.accelerator.num_processes)
            on_first(self.accelerator, lambda: record(self.folder / "environment.json", here))
            on_first(self.accelerator, lambda: self.log.start_trackers(self.done))

    def _asked_to_stop(self, interrupt: Interrupt) -> int:
        """The signal that any process was sent, 0 for none.

        All must agree, or they wait for each other. (Of two signals the larger number counts.)
        """
        asked = torch.zeros(self.accelerator.num_processes, device=self.accelerator.device)
        asked[self.accelerator.process_index] = interrupt.asked
        return int(self.accelerator.reduce(asked, "sum").max())

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Hashes of what a resumed run must find again."""
        given = {"pixels": self.pixels} if self.pixels else {}
        return {**hashes_of_inputs(self.feed, self.model, self.step), **given}
