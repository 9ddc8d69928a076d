"""What a training step costs, counted in passes of an image through the image encoder."""

from __future__ import annotations

from zsrobust.config.schema import FinetuneConfig


def passes_per_step(config: FinetuneConfig) -> int:
    """Passes for each image of a step's batch.

    A forward pass, a gradient with respect to the input and one with respect to the weights count
    one each; text is encoded once and costs nothing. A step of PGD takes two; each view that the
    student sees takes three, each that the original or a proxy of any size sees one, and one the
    clean images where the attack leads away from what the student says of them. PMG-AFT with two
    attack steps takes 11, TeCoA 7, clean fine-tuning 3.
    """
    assert config.objective is not None
    needs = config.objective.needs
    attack = 2 * config.attack.steps if needs.attack else 0
    frozen = len(needs.teacher) + bool(needs.proxy)
    return attack + needs.clean_first + 3 * len(needs.student) + frozen


RIGHT = 0.7
"""Share of held-out images that is expected to be right, and so attacked."""
OF_HELD_OUT = 1 + RIGHT * (2 * 10 + 1)
"""Passes of a held-out image at an evaluation: clean, PGD-10, and its result."""


def passes_of_run(config: FinetuneConfig, images: int) -> float:
    """About how many passes a fine-tuning takes, all steps and evaluations.

    Args:
        config: the run.
        images: of the training set, those that are held out included; 0 where that is not known.
    """
    held_out = round(config.hold_out * images)
    trained = images - held_out
    batch = min(config.batch_size, trained) or config.batch_size
    last = 0 if config.drop_last else trained % batch
    per_epoch = max(1, trained // batch + (last > 0))
    steps = config.steps or config.epochs * per_epoch
    short = steps // per_epoch if last else 0
    evaluations = 1 + -(-steps // (config.evaluate_every or per_epoch))
    training = (steps * batch - short * (batch - last)) * passes_per_step(config)
    return training + evaluations * held_out * OF_HELD_OUT


def steps_for(passes: int, config: FinetuneConfig) -> int:
    """How many steps ``passes`` an image pay for, at least one."""
    return max(1, passes // passes_per_step(config))
