"""Fine-tuning from a configuration to a run folder."""

from __future__ import annotations

import copy
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.config.identity import recipe_hash
from zsrobust.config.run_folder import claimed, find_run
from zsrobust.config.schema import FinetuneConfig, to_plain
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import attack_resolution
from zsrobust.data.published.prompts import expand_templates, prompts_of
from zsrobust.data.registry import opening
from zsrobust.data.split import hold_out
from zsrobust.data.suites import single
from zsrobust.data.verify import readable, with_content_stamp
from zsrobust.models import text_side
from zsrobust.models.card import THEN
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.trained_text import TrainedText, text_tower_of
from zsrobust.models.visual_prompts import VisualPrompt, check_has_tokens
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.training.checkpoint import bytes_to_write
from zsrobust.training.compiling import check_compiles, compile_blocks
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.feed import Feed
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.training.trackers import Trackers, check_trackers
from zsrobust.training.trainer import Trainer
from zsrobust.utils.devices import bf16_works, full_precision
from zsrobust.utils.distributed import make_accelerator, on_first
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import require_room
from zsrobust.utils.progress import Steps
from zsrobust.utils.watchdog import watched


@dataclass(frozen=True)
class Run:
    """A finished fine-tuning run.

    Attributes:
        folder: the run folder; ``zsrobust.load`` and ``--model`` take it.
        steps: optimizer steps done.
        clean_acc, robust_acc: of the selected model on the held-out images, in [0, 1].
        warnings: sentences on how the selected model, or the last one, has collapsed: on held-out
            images, or else on the last training batches.
        seconds: that training took in this call.
    """

    folder: Path
    steps: int
    clean_acc: float
    robust_acc: float
    warnings: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)


def finetune(config: FinetuneConfig, given: ImageSet | None = None) -> Run:
    """Fine-tune as ``config`` says; resumes an interrupted run of the same folder.

    ``given`` is the training set, where that is an object.

    Raises:
        RequestError: before any training, if something asked for is wrong or missing.
        RunError: if the run fails: a loss that is not finite, a full disk.
        Stopped: on Ctrl-C or SIGTERM, once a checkpoint is saved.
    """
    check_trackers(config.trackers)
    accelerator = make_accelerator(config.device)
    with watched(accelerator.process_index, accelerator.num_processes):
        return _finetune(config, given, accelerator)


def _finetune(config: FinetuneConfig, given: ImageSet | None, accelerator: Accelerator) -> Run:
    check_processes(config, accelerator)
    folder = on_first(accelerator, lambda: find_run(config))
    trainer = trainer_of(config, folder, accelerator, given)
    with ExitStack() as stack:
        on_first(accelerator, lambda: stack.enter_context(claimed(folder, config)))
        stack.enter_context(full_precision())
        if config.trackers and accelerator.is_main_process:
            trainer.log.trackers = Trackers(config.trackers, folder, to_plain(config), accelerator)
            stack.callback(trainer.log.trackers.finish)
        began = time.monotonic()
        best = trainer.run()
        seconds = time.monotonic() - began
    warnings = tuple(
        dict.fromkeys(one.warning for one in (best, trainer.held_out_now) if one.warning)
    ) or tuple(filter(None, [trainer.batches.warning]))
    return Run(folder, trainer.total_steps, best.clean_acc, best.robust_acc, warnings, seconds)


def check_processes(config: FinetuneConfig, accelerator: Accelerator) -> None:
    """Refuse what these devices and processes cannot do."""
    world_size = accelerator.num_processes
    for key in ("precision", "attack_precision"):
        if getattr(config, key) == "bf16" and not bf16_works(accelerator.device):
            raise RequestError(
                f"{key} is bf16: {accelerator.device} has no bfloat16; use {key} fp32"
            )
    if config.batch_size % (world_size * config.accumulate):
        raise RequestError(
            f"batch_size is {config.batch_size}: must be a multiple of accumulate times the "
            f"number of processes ({config.accumulate} x {world_size})"
        )


def trainer_of(
    config: FinetuneConfig,
    folder: Path,
    accelerator: Accelerator,
    given: ImageSet | None = None,
) -> Trainer:
    """All that a run needs, set up; nothing is written.

    Raises:
        RequestError: if something asked for is wrong or missing.
    """
    objective = config.objective
    assert objective is not None
    model = load(config.model, preprocessing=config.preprocessing, device=accelerator.device)
    _check_objective(model, config)
    proxy = _proxy(config, accelerator)
    require_room(folder, bytes_to_write(config, model.encoder, folder), "the fine-tuning")
    original = copy.deepcopy(model.encoder).eval().requires_grad_(False)
    model = replace(model, encoder=model.adapted_encoder(config.adapter.made, config.seed))
    if config.compile:
        check_compiles(model.encoder, model.name, accelerator.device)
    if given is None:
        data = on_first(accelerator, lambda: _training_data(model, config))
    else:
        # Every process has it, and it need not be one that can be sent.
        data = with_content_stamp(_training_data(model, config, given))
    train_set, held_out = hold_out(data, config.hold_out, config.seed)
    feed = Feed(
        train_set=train_set,
        held_out=held_out,
        batch_size=_batch_size(config, len(train_set), accelerator.num_processes),
        parts=config.accumulate,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        seed=config.seed,
        resize=config.loader_resize,
        resolution=attack_resolution(data, model.preprocessing.image_size),
        workers=config.workers,
        drop_last=config.drop_last,
    )
    _check_last_batch(feed)
    classifier = _classifier(model, data, config, accelerator)
    encoder = TrainedEncoder(
        model.encoder,
        model.preprocessing,
        accelerator,
        train_batch_norm=config.batch_norm == "train",
        tokens=objective.needs.tokens,
        apart=objective.needs.apart,
        head=_head(model, classifier, config),
        ema=config.ema,
        shard=config.shard and accelerator.num_processes > 1,
    )
    if config.compile:
        for tower in (encoder.raw, original):
            compile_blocks(tower)
    tuned = _tuned(replace(model, encoder=encoder.evaluated), data, config)
    trained = replace(model, encoder=encoder.forward)
    step = _step(config, trained, encoder, original, data, accelerator, proxy)
    step.rehearse(feed.batch_size // (config.accumulate * accelerator.num_processes))
    return Trainer(
        config=config,
        folder=folder,
        model=tuned,
        classifier=_classifier(tuned, data, config, accelerator),
        feed=feed,
        step=step,
        selection_attack=PGD(_threat(config), steps=10, seed=config.seed),
        pixels="" if given is None else data.stamp,
    )


def _threat(config: FinetuneConfig) -> ThreatModel:
    return ThreatModel(config.attack.norm, config.attack.eps)


def _batch_size(config: FinetuneConfig, images: int, world_size: int) -> int:
    """The batch size asked for, or of a smaller training set as much as parts and processes divide.

    Raises:
        RequestError: if the set has not one image for each of them.
    """
    pieces = config.accumulate * world_size
    if images < pieces:
        raise RequestError(
            f"{config.data} leaves {images} training images: there must be one at least for each "
            f"of accumulate times the number of processes ({pieces})"
        )
    return min(config.batch_size, images // pieces * pieces)


def _check_last_batch(feed: Feed) -> None:
    """Refuse a last batch of which a process would have no image."""
    last = feed.images_of(feed.per_epoch - 1)
    if last < feed.world_size:
        raise RequestError(
            f"drop_last is false: the last batch of an epoch has {last} of {len(feed.train_set)} "
            f"images, for {feed.world_size} processes: use drop_last true or another batch_size"
        )


def _training_data(
    model: CLIPModel, config: FinetuneConfig, given: ImageSet | None = None
) -> ImageSet:
    """The training set, if the model can tell its classes apart by their names."""
    data = opening(single(config.data), "train")() if given is None else given
    say = Steps("", 1).say
    model.check_classes(
        data.class_names,
        prompts_of(data, config.templates),
        data.name,
        lambda doubt: say(f"warning: {doubt}"),
    )
    if config.loader_resize == "clip" != model.loader_resize:
        say(
            f"{model.name} was trained on photographs resized by {model.loader_resize}; this run "
            f"resizes them by clip: loader_resize {model.loader_resize} keeps the model's own"
        )
    assert config.objective is not None
    texts = [text for group in config.objective.prompts(data.class_names) for text in group]
    if cut := model.cut(texts):
        say(
            f"warning: {data.name}: {model.name} leaves out the end of {len(cut)} of {len(texts)} "
            f"prompts of {config.method}, which are longer than its context, as of {cut[0]!r}"
        )
    return readable(data, config.on_unreadable)


def _head(
    model: CLIPModel, classifier: ZeroShotClassifier, config: FinetuneConfig
) -> nn.Module | None:
    """What is trained beside the encoder: what the objective makes, or the text tower."""
    assert config.objective is not None
    if config.objective.needs.text:
        return TrainedText(model, classifier.class_names, classifier.templates)
    classes, dim = classifier.class_embeddings.shape
    return config.objective.head(dim, classes, config.seed)


def _tuned(model: CLIPModel, data: ImageSet, config: FinetuneConfig) -> CLIPModel:
    """``model`` with its name and warnings once it is trained."""
    assert config.objective is not None
    label = config.objective.label
    if config.adapter.kind != "full":
        label += f" + {config.adapter.made.label}"
    if config.ema is not None:
        label += f" + ema({config.ema})"
    return replace(
        model,
        adapter=config.adapter,
        seen=model.seen | {data.name, data.origin} - {""},
        method=label if model.method == "original" else f"{model.method}{THEN}{label}",
        recipe=recipe_hash(config),
        loader_resize=config.loader_resize,
        default_templates=expand_templates(config.templates or model.default_templates),
    )


def _classifier(
    model: CLIPModel, data: ImageSet, config: FinetuneConfig, accelerator: Accelerator
) -> ZeroShotClassifier:
    # Doubtful names were reported when they were checked.
    classifier = model.classifier(
        data.class_names, prompts_of(data, config.templates), lambda _: None
    )
    return classifier.to(accelerator.device)


def _step(
    config: FinetuneConfig,
    model: CLIPModel,
    encoder: TrainedEncoder,
    original: nn.Module,
    data: ImageSet,
    accelerator: Accelerator,
    proxy: CLIPModel | None,
) -> TrainingStep:
    objective = config.objective
    assert objective is not None
    if proxy is not None:
        proxy.check_classes(data.class_names, prompts_of(data, config.templates), data.name)
    settings = config.optimizer
    optimizer = make_optimizer(
        encoder,
        settings.name,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        head=objective.head_updates,
    )
    attack = PGD(
        _threat(config),
        steps=config.attack.steps,
        step_size=config.attack.step_size,
        random_start=config.attack.random_start,
        seed=config.seed,
    )
    if objective.needs.attack and attack.doubt:
        say = Steps("", 1, quiet=not accelerator.is_main_process).say
        say(f"warning: attack: {attack.doubt}")
    return TrainingStep(
        objective=objective,
        attack=attack,
        encoder=encoder,
        classifier=_classifier(model, data, config, accelerator),
        original=original,
        optimizer=optimizer,
        accelerator=accelerator,
        bf16=config.precision == "bf16",
        attack_bf16=config.attack_precision == "bf16",
        clip_norm=settings.clip_norm,
        texts=tuple(
            text_side.class_vectors(model.text, prompts, ("{}",)).to(accelerator.device)
            for prompts in objective.prompts(data.class_names)
        ),
        proxy=None if proxy is None else _classifier(proxy, data, config, accelerator),
    )


def _proxy(config: FinetuneConfig, accelerator: Accelerator) -> CLIPModel | None:
    """The further model that the objective reads, frozen.

    Raises:
        RequestError: if it cannot be loaded, or is defended.
    """
    assert config.objective is not None
    if not (name := config.objective.needs.proxy):
        return None
    proxy = load(name, device=accelerator.device)
    proxy.require_undefended(f"objective.proxy of {config.method}")
    proxy.encoder.requires_grad_(False)
    return proxy


def _check_objective(model: CLIPModel, config: FinetuneConfig) -> None:
    """Refuse a model or an attack that the objective cannot work with."""
    assert config.objective is not None
    model.require_undefended("fine-tuning")
    if isinstance(model.encoder, VisualPrompt):
        raise RequestError(
            f"model {model.name} has a visual prompt ({model.adapter.made.label}), which cannot be "
            f"fine-tuned further: start from {model.source} or from a run without a prompt"
        )
    needs = config.objective.needs
    if needs.text:
        text_tower_of(model)
    if needs.tokens:
        if config.shard:
            raise RequestError(
                f"shard is true: {config.method} reads patch tokens, for which the weights must "
                "be unsharded: use shard false"
            )
        check_has_tokens(model.encoder, model.name)
    if needs.random_start and not config.attack.random_start:
        raise RequestError(
            f"attack.random_start is false: the attack of {config.method} has no gradient at the "
            "image itself, so it must be true"
        )
