"""What a sweep would run; for the paper's experiment, what of it is missing here, and its cost."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from zsrobust.data.published.sets import paper_sets
from zsrobust.data.suites import expand
from zsrobust.sweep.jobs import Evaluation, count_images
from zsrobust.sweep.plan import Sweep
from zsrobust.sweep.study import Study
from zsrobust.training.cost import passes_per_step
from zsrobust.utils.dry_run import DryRun
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import as_argument

WEIGHTS_GB = 0.35
# Passes for a sample that withstands: a forward pass and two for each gradient.
PGD_10, CW_10 = 1 + 20, 1 + 20
AUTOATTACK = 2 * 100 + 9 * 2 * 100 + 9 * 2 * 100 + 5000
"""APGD on the cross-entropy, APGD and FAB at nine targets, 100 steps each, 5,000 of Square."""
PETA = 1e15


def dry_run(study: Study, root: Path) -> list[str]:
    """A line each for what would be run and what is missing, and the cost.

    Args:
        study: of the plan ``paper``.
        root: where the sixteen sets lie.
    """
    model = next(iter(study.systems.values())).config.model
    lines = [f"The paper's experiment with {model} and the sets in {root}, in {study.out}:"]
    missing = list(_missing(model, root))
    lines += [f"missing: {line}" for line in missing] or ["nothing is missing"]
    total = 0.0
    for part, operations in _costs(study, model):
        total += operations
        lines.append(f"{part}: {operations / PETA:,.0f} PFLOP")
    hours = {speed: total / (speed * 1e12) / 3600 for speed in (10, 50, 200)}
    lines.append(
        f"in all at most {total / PETA:,.0f} PFLOP: "
        + ", ".join(f"{hours[speed]:,.0f} h at {speed} TFLOP/s" for speed in hours)
        + " sustained"
    )
    return lines


def dry_run_sweep(sweep: Sweep) -> DryRun:
    """What a sweep would do, every recipe timed on a few steps, and one evaluation.

    Raises:
        RequestError: as the sweep would.
    """
    from zsrobust.evaluation.cost import expected_cost
    from zsrobust.evaluation.dry_run import dry_run_evaluation
    from zsrobust.sweep.run import check_sweep
    from zsrobust.training.dry_run import dry_run_finetuning

    check_sweep(sweep)
    jobs = sweep.jobs()
    left = [job for job in jobs if not job.is_done()]
    lines = [f"out: {sweep.out}, {len(jobs) - len(left)} of {len(jobs)} runs are finished"]
    parts: list[DryRun] = []
    for recipe in sweep.recipes:
        trainings = [one for seed in sweep.seeds if (one := sweep.training(recipe, seed)) in left]
        lines.append(f"{recipe}: {len(trainings)} of {len(sweep.seeds)} seeds are left to train")
        if trainings:
            found = dry_run_finetuning(trainings[0].config)
            lines += [f"  {line}" for line in found.lines if not line.startswith("out:")]
            parts += [found] * len(trainings)
            left = [job for job in left if job not in trainings]
    if left:
        # Of the original; the others take as many times as long as their samples stand longer.
        original = next(iter(sweep.originals().values()))
        found = dry_run_evaluation(replace(original.config, overwrite=True))
        lines.append(f"evaluations: {len(left)} are left")
        lines += [f"  {line}" for line in found.lines if line.startswith(("data:", "attack:"))]
        sizes = [count_images(spec, "test") for spec in expand(sweep.evaluation.data)]
        cost, stands = (
            expected_cost(sweep.evaluation, sizes, undefended=undefended)
            for undefended in (True, False)
        )
        for job in left:
            trained = isinstance(job, Evaluation) and job.of is not None
            seconds = found.seconds * (stands / cost if trained else 1)
            parts.append(replace(found, seconds=seconds))
    return DryRun(
        lines,
        passes=sum(part.passes for part in parts),
        seconds=sum(part.seconds for part in parts),
        most_seconds=sum(max(part.seconds, part.most_seconds) for part in parts),
        memory=max((part.memory for part in parts), default=0.0),
        disk=sum(part.disk for part in parts),
    )


def _missing(model: str, root: Path) -> Iterator[str]:
    """What is not here, with its size and how to get it."""
    from zsrobust.models.loading import load

    try:
        load(model)
    except RequestError as reason:
        yield f"{model}, {WEIGHTS_GB:g} GB: {reason}"
    for known in paper_sets():
        if known.below(root) is None:
            size = "size not known" if known.gigabytes is None else f"{known.gigabytes:g} GB"
            account = " (needs an account)" if known.account else ""
            yield (
                f"{known.kind}, {size}{account}: zsrobust data prepare {known.kind} "
                f"--root {shlex.quote(as_argument(root))}"
            )


def _costs(study: Study, model: str) -> Iterator[tuple[str, float]]:
    """Each part of the work, and how many operations it takes at most."""
    forward = forward_operations(model)
    for name, system in study.systems.items():
        config = system.config
        passes = (config.steps or 0) * config.batch_size * passes_per_step(config)
        yield (
            f"fine-tuning {name}: {config.steps} steps of {config.batch_size}",
            passes * forward,
        )
    counts = [known.counts["all" if known.own_split else known.test] for known in paper_sets()]
    models = 1 + len(study.systems)
    images = sum(counts)
    yield (
        f"PGD-10 and CW-10 of {models} models on {images:,} images",
        models * images * (PGD_10 + CW_10) * forward,
    )
    samples = study.evaluations["autoattack"].samples or images
    sampled = sum(min(count, samples) for count in counts)
    yield (
        f"AutoAttack of {models - 1} fine-tuned models on {sampled:,} images",
        (models - 1) * sampled * AUTOATTACK * forward,
    )


def forward_operations(model: str) -> float:
    """Operations of one image through ``ARCH/TAG``; a multiplication and an addition are two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from zsrobust.models.loading import load

    tower = load(f"{model.partition('/')[0]}/random").encoder
    counter = FlopCounterMode(display=False)
    # Without a gradient attention takes a path whose operations the counter does not see.
    with counter, torch.enable_grad():
        tower(torch.zeros(1, 3, 224, 224))
    return float(counter.get_total_flops())
