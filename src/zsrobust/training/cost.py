"""What a training step costs, counted in passes of an image through the image encoder."""

from __future__ import annotations

from zsrobust.config.schema import FinetuneConfig


def passes_per_step(config: FinetuneConfig) -> int:
    """Passes for each image of a step's batch.

    A forward pass, a gradient with respect to the input and one with respect to the weights count
    one each; text is encoded once and costs nothing. A step of PGD takes two; each view that the
    student sees takes three, each that the original sees one, and one the clean images where the
    attack leads away from what the student says of them. PMG-AFT with two attack steps takes
    11, TeCoA 7, clean fine-tuning 3.
    """
    assert config.objective is not None
    needs = config.objective.needs
    attack = 2 * config.attack.steps if needs.attack else 0
    return attack + needs.clean_first + 3 * len(needs.student) + len(needs.teacher)


def steps_for(passes: int, config: FinetuneConfig) -> int:
    """How many steps ``passes`` an image pay for, at least one."""
    return max(1, passes // passes_per_step(config))
