"""The paper's own experiment: CLIP ViT-B/32, TinyImageNet, sixteen sets, the authors' recipes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from zsrobust.config.parsing import recipe
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.data.published.sets import paper_sets, published_sets
from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import Stage
from zsrobust.sweep.cost import passes_per_step
from zsrobust.sweep.jobs import Job
from zsrobust.sweep.plan import Sweep
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import as_argument
from zsrobust.utils.units import Eps

ARCHITECTURE = "ViT-B-32"
MODEL = f"{ARCHITECTURE}/openai"
WEIGHTS_GB = 0.35
TRAIN = "tiny-imagenet"
RECIPES = {
    "ft_clean": "FT-Clean",
    "ft_standard": "our FT-Standard",
    "tecoa": "TeCoA",
    "pmg_aft_paper": "PMG-AFT (paper)",
    "pmg_aft_authors_code": "PMG-AFT (authors_code)",
}
REFERENCE = "TeCoA"
TRAINING_IMAGES = 100_000
SAMPLES = 1000
"""Images a set for AutoAttack: on all of them it would take weeks."""
# Passes for a sample that withstands: a forward pass and two for each gradient.
PGD_10, CW_10 = 1 + 20, 1 + 20
AUTOATTACK = 2 * 100 + 9 * 2 * 100 + 9 * 2 * 100 + 5000
"""APGD on the cross-entropy, APGD and FAB at nine targets, 100 steps each, 5,000 of Square."""
PETA = 1e15


@dataclass(frozen=True)
class Paper:
    """All of it, in one folder.

    Attributes:
        root: where the sixteen sets lie.
        out: the folder.
    """

    root: Path
    out: Path

    def jobs(self) -> list[Job]:
        """Five fine-tunings, and what is known of their evaluations."""
        jobs: list[Job] = []
        for stage in self.stages().values():
            jobs += [job for job in stage.sweep.jobs() if job not in jobs]
        return jobs

    def stages(self) -> dict[str, Stage]:
        """All images under PGD-10 and CW, and a sample of each set under AutoAttack."""
        evaluation = EvaluateConfig(
            model=[MODEL],
            data=[f"paper16:{self.root}"],
            attack=["pgd-10", "cw-10"],
            eps=[Eps("1/255")],
        )
        sweep = Sweep(self.recipes, (0,), evaluation, self.out)
        sampled = replace(evaluation, attack=["autoattack"], samples=SAMPLES)
        titles = list(RECIPES.values())
        return {
            "equal-steps": Stage(sweep, titles, REFERENCE),
            "autoattack": Stage(
                replace(sweep, evaluation=sampled, evaluations="evaluations-autoattack"),
                titles,
                REFERENCE,
            ),
        }

    @property
    def recipes(self) -> dict[str, FinetuneConfig]:
        """The packaged recipes, ten passes over TinyImageNet."""
        place = published_sets()[TRAIN].below(self.root) or self.root / TRAIN
        found = {}
        for name in RECIPES:
            config = recipe(name, model=MODEL, data=f"{TRAIN}:{place}")
            per_epoch = int(TRAINING_IMAGES * (1 - config.hold_out)) // config.batch_size
            found[name] = replace(config, steps=config.epochs * per_epoch, evaluate_every=per_epoch)
        return found

    def tables(self) -> dict[str, TextTable]:
        """None: nothing is searched for."""
        return {}

    def keep(self) -> None:
        """Nothing but results is needed."""

    def missing(self) -> Iterator[str]:
        """What is not here, a line each, with its size and how to get it."""
        from zsrobust.models.loading import load

        try:
            load(MODEL)
        except RequestError as reason:
            yield f"{MODEL}, {WEIGHTS_GB:g} GB: {reason}"
        for known in paper_sets():
            if known.below(self.root) is None:
                size = "size not known" if known.gigabytes is None else f"{known.gigabytes:g} GB"
                account = " (needs an account)" if known.account else ""
                yield (
                    f"{known.kind}, {size}{account}: zsrobust data prepare {known.kind} "
                    f"--root {shlex.quote(as_argument(self.root))}"
                )

    def costs(self) -> Iterator[tuple[str, float]]:
        """Each part of the work in words, and how many operations it takes at most."""
        forward = forward_operations()
        for name, config in self.recipes.items():
            passes = (config.steps or 0) * config.batch_size * passes_per_step(config)
            yield (
                f"fine-tuning {name}: {config.steps} steps of {config.batch_size}",
                passes * forward,
            )
        counts = [known.counts["all" if known.own_split else known.test] for known in paper_sets()]
        models = 1 + len(RECIPES)
        images = sum(counts)
        yield (
            f"PGD-10 and CW-10 of {models} models on {images:,} images",
            models * images * (PGD_10 + CW_10) * forward,
        )
        sampled = sum(min(count, SAMPLES) for count in counts)
        yield (
            f"AutoAttack of {models - 1} fine-tuned models on {sampled:,} images",
            (models - 1) * sampled * AUTOATTACK * forward,
        )


def forward_operations() -> float:
    """Operations of one image through ViT-B/32, a multiplication and an addition counted as two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from zsrobust.models.loading import load

    tower = load(f"{ARCHITECTURE}/random").encoder
    counter = FlopCounterMode(display=False)
    # Without a gradient attention takes a path whose operations the counter does not see.
    with counter, torch.enable_grad():
        tower(torch.zeros(1, 3, 224, 224))
    return float(counter.get_total_flops())


def plan_in_words(paper: Paper) -> list[str]:
    """What would be run, what is missing, and what it would cost."""
    lines = [f"The paper's experiment with {MODEL} and the sets in {paper.root}, in {paper.out}:"]
    missing = list(paper.missing())
    lines += [f"missing: {line}" for line in missing] or ["nothing is missing"]
    total = 0.0
    for words, operations in paper.costs():
        total += operations
        lines.append(f"{words}: {operations / PETA:,.0f} PFLOP")
    hours = {speed: total / (speed * 1e12) / 3600 for speed in (10, 50, 200)}
    lines.append(
        f"in all at most {total / PETA:,.0f} PFLOP: "
        + ", ".join(f"{hours[speed]:,.0f} h at {speed} TFLOP/s" for speed in hours)
        + " sustained"
    )
    return lines
