"""The schema of a run: typed, checked dataclasses that YAML and the command line fill."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from zsrobust.models.adapters.options import Adapter
from zsrobust.objectives import Objective, objective_class
from zsrobust.utils.own_code import code_of
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import (
    check_templates,
    check_types,
    check_values,
    require,
    require_linf_length,
    require_radius,
)

Device = Literal["auto", "cpu", "cuda", "mps"]
LoaderResize = Literal["clip", "squash", "bilinear", "bilinear_squash", "authors_code"]
ONE_LEVEL = Eps("1/255")
MOST_WORKERS = 512


@dataclass(frozen=True)
class TrainingAttack:
    """PGD inside the training step.

    Attributes:
        norm: linf or l2.
        eps: radius; in l2 the norm of the perturbation, such as 0.5.
        steps: gradient steps, 1 or more.
        step_size: step size; null for 2.5 eps / steps.
        random_start: start uniformly in the ball; else at the clean image.
    """

    norm: Literal["linf", "l2"] = "linf"
    eps: Eps = ONE_LEVEL
    steps: int = 2
    step_size: Eps | None = ONE_LEVEL
    random_start: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", Eps(self.eps))
        if self.step_size is not None:
            object.__setattr__(self, "step_size", Eps(self.step_size))
        check_types(self, "attack.")
        require(self.steps >= 1, "attack.steps", self.steps, "1 or more")
        require(
            self.step_size is None or self.step_size > 0,
            "attack.step_size",
            self.step_size,
            "above 0, or null for 2.5 eps / steps",
        )
        require_radius("attack.eps", self.eps, self.norm)
        if self.norm == "linf":
            require_linf_length("attack.step_size", self.step_size or 0)


@dataclass(frozen=True)
class Optimizer:
    """The optimizer and its schedule.

    Attributes:
        name: sgd or adamw.
        lr: peak learning rate, above 0.
        momentum: of SGD, in [0, 1).
        weight_decay: 0 or more; decoupled in AdamW.
        warmup_steps: linear warm-up before the cosine to 0; a tenth of a run that it would outlast.
        clip_norm: maximum gradient norm; null for no clipping.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 5e-5
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup_steps: int = 0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        check_types(self, "optimizer.")
        require(self.lr > 0, "optimizer.lr", self.lr, "above 0")
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "in [0, 1)")
        require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "0 or more")
        require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "0 or more")
        clip = self.clip_norm
        require(clip is None or clip > 0, "optimizer.clip_norm", clip, "above 0, or null for none")


@dataclass(frozen=True)
class FinetuneConfig:
    """One fine-tuning run.

    Attributes:
        model: the model to fine-tune, and the frozen teacher; anything `zsrobust.load` takes.
        data: training set, KIND:PATH (tiny-imagenet, imagefolder, cifar10, ...).
        out: run folder; null for one under runs/ named after the configuration.
        method: the objective, or FILE.py:NAME for one that is registered in a file of your own.
        objective: the objective's own options.
        attack: PGD inside the training step.
        optimizer: the optimizer and its schedule.
        adapter: which parameters of the image encoder are trained.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is
            evaluated and saved instead of the last weights; null for none.
        epochs: passes over the training split.
        steps: optimizer steps; overrides epochs.
        batch_size: images per step, over all processes and accumulation steps; all training images
            where there are fewer.
        accumulate: gradient accumulation steps, to save memory.
        precision: of forward and backward passes; bf16 uses autocast.
        attack_precision: of the attack in training; evaluation attacks are always fp32.
        compile: compile the image encoders for training (torch.compile): faster after the first
            step, with different rounding.
        shard: shard weights, gradients and optimizer state over the processes (FSDP), for encoders
            that do not fit on one device.
        batch_norm: frozen uses a ResNet's running statistics; train updates them.
        preprocessing: clip, authors_code, ...; null for the model's own.
        loader_resize: how images are resized to the attack resolution.
        templates: prompts with {} for the class name, single for one or ensemble for 80; null for
            the data's or the model's own.
        prompts: preset of class names and templates where a published set is given without one:
            paper, authors_code, clip or plain; null for paper.
        hold_out: fraction of the training images held out for model selection; 0 trains on all of
            them and keeps the last model.
        drop_last: drop the last batch of an epoch where it is incomplete.
        evaluate_every: steps between evaluations on the held-out set; null for every epoch.
        checkpoint_every: steps between checkpoints; one is saved at every evaluation, too.
        keep_checkpoints: number of latest checkpoints to keep; the best model is always in model/.
        non_finite: stop the run at a step whose loss or gradient is not finite, or skip the step,
            up to ten in a row.
        seed: random seed for data order, noise and the held-out split.
        device: device to run on.
        workers: data-loading processes.
        on_unreadable: stop at an unreadable image, or skip it.
        overwrite: delete the earlier run in the folder and start again.
        trackers: tensorboard, wandb, mlflow, or several; metrics.jsonl is written in any case.
        code: SHA-256 of the file of a method of your own; filled in.
    """

    model: str
    data: str
    out: str | None = None
    method: str = "pmg_aft"
    objective: Objective | None = None
    attack: TrainingAttack = field(default_factory=TrainingAttack)
    optimizer: Optimizer = field(default_factory=Optimizer)
    adapter: Adapter = field(default_factory=Adapter)
    ema: float | None = None
    epochs: int = 10
    steps: int | None = None
    batch_size: int = 256
    accumulate: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    attack_precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    shard: bool = False
    batch_norm: Literal["frozen", "train"] = "frozen"
    preprocessing: str | None = None
    loader_resize: LoaderResize = "clip"
    templates: list[str] | None = None
    prompts: Literal["paper", "authors_code", "clip", "plain"] | None = None
    hold_out: float = 0.05
    drop_last: bool = True
    evaluate_every: int | None = None
    checkpoint_every: int = 200
    keep_checkpoints: int = 2
    non_finite: Literal["stop", "skip"] = "stop"
    seed: int = 0
    device: Device = "auto"
    workers: int = 0
    on_unreadable: Literal["stop", "skip"] = "stop"
    overwrite: bool = False
    trackers: list[Literal["tensorboard", "wandb", "mlflow"]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.objective is None:
            object.__setattr__(self, "objective", objective_class(self.method)())
        check_types(self)
        object.__setattr__(self, "data", _with_prompts([self.data], self.prompts)[0])
        object.__setattr__(self, "code", code_of([self.method], self.code))
        require(
            isinstance(self.objective, objective_class(self.method))
            and self.objective.name == objective_class(self.method).name,
            "objective",
            self.objective,
            f"an objective of method {self.method}",
        )
        positive = ("epochs", "batch_size", "accumulate", "checkpoint_every", "keep_checkpoints")
        for key in positive:
            require(getattr(self, key) >= 1, key, getattr(self, key), "1 or more")
        for key in ("steps", "evaluate_every"):
            value = getattr(self, key)
            require(value is None or value >= 1, key, value, "1 or more, or null")
        require(0 <= self.workers <= MOST_WORKERS, "workers", self.workers, f"0 to {MOST_WORKERS}")
        ema = self.ema
        require(ema is None or 0 < ema < 1, "ema", ema, "between 0 and 1, or null for none")
        require(
            self.batch_norm == "frozen" or self.adapter.kind == "full",
            "batch_norm",
            self.batch_norm,
            f"frozen with adapter.kind {self.adapter.kind}: else frozen layers change",
        )
        require(
            not (self.shard and self.batch_norm == "train"),
            "batch_norm",
            self.batch_norm,
            "frozen with shard true: each process would have its own statistics",
        )
        require(
            not (self.shard and self.compile),
            "compile",
            self.compile,
            "false with shard true: weights that are gathered block by block are not compiled",
        )
        if self.objective is not None and self.objective.needs.text:
            why = f"with method {self.method}, which trains the text tower too"
            require(ema is None, "ema", ema, f"null {why}")
            require(not self.shard, "shard", self.shard, f"false {why}")
        require(0 <= self.hold_out < 1, "hold_out", self.hold_out, "0, or below 1")
        require(
            self.batch_size % self.accumulate == 0,
            "accumulate",
            self.accumulate,
            f"a divisor of batch_size ({self.batch_size})",
        )
        require(
            self.drop_last or self.accumulate == 1,
            "drop_last",
            self.drop_last,
            "true with accumulate above 1: the last batch might not fill its parts",
        )
        check_templates(self.templates)
        check_values(self)


@dataclass(frozen=True)
class PGDOptions:
    """Options of every PGD attack of an evaluation.

    Attributes:
        step_size: step size; null for 2.5 eps / steps.
        restarts: independent random starts; the worst counts.
        random_start: start uniformly in the ball; else at the clean image.
        early_stop: stop each image at its first misclassified iterate.
        logit_scale: logit scale for the attack's loss; null for the model's own.
    """

    step_size: Eps | None = None
    restarts: int = 1
    random_start: bool = True
    early_stop: bool = False
    logit_scale: float | None = None

    def __post_init__(self) -> None:
        if self.step_size is not None:
            object.__setattr__(self, "step_size", Eps(self.step_size))
        check_types(self, "pgd.")
        require(self.restarts >= 1, "pgd.restarts", self.restarts, "1 or more")
        step = self.step_size
        require(step is None or step > 0, "pgd.step_size", step, "above 0, or null")
        scale = self.logit_scale
        require(scale is None or scale > 0, "pgd.logit_scale", scale, "above 0, or null")


@dataclass(frozen=True)
class EvaluateConfig:
    """One evaluation: every model on every data set, clean and under every attack.

    Attributes:
        model: models to evaluate (repeatable); anything `zsrobust.load` takes.
        data: data sets (repeatable), KIND:PATH, digits, or a suite such as paper16:ROOT.
        out: run folder; null for one under runs/ named after the configuration.
        attack: attack names (repeatable), such as pgd-10; FILE.py:NAME for one registered in a
            file of your own.
        eps: radii (repeatable), such as 1/255; in l2 the norm of the perturbation, such as 0.5.
        norm: linf or l2.
        pgd: options of every PGD attack.
        samples: images per data set, a class-balanced random subset; null for all.
        half_width: run ensembles such as autoattack in two phases, on as few samples as give this
            half of a 95 % interval's width, in points; null for every sample.
        half_width_of: every model's average over the data sets, or every difference of two.
        interval: whether intervals of two phases are of the population that the images come from,
            or of these images alone.
        draws: number of further draws by which the images of a randomised test-time defence are
            judged; 0 for the image's own draw alone.
        baseline: also evaluate the original of each fine-tuned model, and the fine-tuned model that
            its run began from.
        sanity: also run sanity checks of every model's robust accuracy.
        save_adversarial: number of clean and adversarial image pairs saved for each model, data set
            and attack, half of them successful attacks. Does not affect results.
        batch_size: batch size of our own attacks; library attacks use 100. Does not affect results.
        preprocessing: clip, authors_code, ...; null for the model's own.
        loader_resize: how images are resized to the attack resolution; null for the way that the
            model was fine-tuned with, its own where it was not.
        templates: prompts with {} for the class name, single for one or ensemble for 80; null for
            the data's or the model's own.
        prompts: preset of class names and templates where a published set is given without one:
            paper, authors_code, clip or plain; null for paper.
        seed: random seed for noise and sampling.
        device: device to run on.
        workers: data-loading processes.
        on_unreadable: stop at an unreadable image, or skip it.
        overwrite: delete the earlier run in the folder and start again.
        code: SHA-256 of the files of attacks of your own; filled in.
    """

    model: list[str]
    data: list[str]
    out: str | None = None
    attack: list[str] = field(default_factory=lambda: ["pgd-10"])
    eps: list[Eps] = field(default_factory=lambda: [ONE_LEVEL])
    norm: Literal["linf", "l2"] = "linf"
    pgd: PGDOptions = field(default_factory=PGDOptions)
    samples: int | None = None
    half_width: float | None = None
    half_width_of: Literal["average", "difference"] = "average"
    interval: Literal["population", "images"] = "population"
    draws: int = 0
    baseline: bool = True
    sanity: bool = False
    save_adversarial: int = 0
    batch_size: int = 64
    preprocessing: str | None = None
    loader_resize: LoaderResize | None = None
    templates: list[str] | None = None
    prompts: Literal["paper", "authors_code", "clip", "plain"] | None = None
    seed: int = 0
    device: Device = "auto"
    workers: int = 0
    on_unreadable: Literal["stop", "skip"] = "stop"
    overwrite: bool = False
    code: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if isinstance(self.eps, list):
            object.__setattr__(self, "eps", [Eps(eps) for eps in self.eps])
        check_types(self)
        object.__setattr__(self, "data", _with_prompts(self.data, self.prompts))
        object.__setattr__(self, "code", code_of([*self.attack, *self.model], self.code))
        for key in ("model", "data", "attack", "eps"):
            values = getattr(self, key)
            require(len(values) > 0, key, values, "given at least once")
            twice = {str(value) for value in values if values.count(value) > 1}
            require(not twice, key, f"{', '.join(sorted(twice))} twice", "given once each")
        for eps in self.eps:
            require_radius("eps", eps, self.norm)
        if self.norm == "linf":
            require_linf_length("pgd.step_size", self.pgd.step_size or 0)
        some = any(eps > 0 for eps in self.eps)
        saved = self.save_adversarial
        require(saved >= 0, "save_adversarial", saved, "0 or more")
        require(some or not self.sanity, "eps", 0, "above 0 for the sanity checks, which attack")
        require(self.samples is None or self.samples >= 1, "samples", self.samples, "1 or more")
        wide = self.half_width is None or 0 < self.half_width < 50
        require(wide, "half_width", self.half_width, "above 0 and below 50 points")
        for key, usual in (("half_width_of", "average"), ("interval", "population")):
            given = self.half_width is not None or getattr(self, key) == usual
            require(given, key, getattr(self, key), "left out without half_width")
        most = self.draws if self.half_width is None else 0
        require(0 <= self.draws <= most, "draws", self.draws, "0 or more, and 0 with half_width")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")
        require(0 <= self.workers <= MOST_WORKERS, "workers", self.workers, f"0 to {MOST_WORKERS}")
        check_templates(self.templates)
        check_values(self)


Config = FinetuneConfig | EvaluateConfig


def _with_prompts(data: list[str], preset: str | None) -> list[str]:
    if preset is None:
        return data
    # It reads the list of published sets, which most commands can do without.
    from zsrobust.data.suites import with_default_prompts

    return [with_default_prompts(spec, preset) for spec in data]


def to_plain(value: Any) -> Any:
    """``value`` in the types of YAML and JSON; distances as ``1/255``."""
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: to_plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Eps):
        return str(value)
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value
