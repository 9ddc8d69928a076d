"""Sanity checks of a model, which run attacks of their own.

A model can defeat an attack without being robust: zero or shattered gradients, randomness, logits
on a scale where cross-entropy is flat or underflows, state carried from query to query. Each check
looks for evidence of one of these.

Sources: Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security" (ICML
2018); Carlini et al., "On evaluating adversarial robustness" (2019); Tramer et al., "On adaptive
attacks to adversarial example defenses" (NeurIPS 2020); Croce et al., "Evaluating the adversarial
robustness of adaptive test-time defenses" (ICML 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.samples import require_samples
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.batch import Batch
from zsrobust.data.split import keyed_order
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.checks.attack_checks import (
    falls_along_eps,
    falls_at_large_eps,
    logit_scale,
    loss_rises,
    pgd_beats_black_box,
    pgd_beats_noise,
)
from zsrobust.evaluation.checks.gradient_checks import (
    finite_differences,
    repeatable,
    softmax_range,
    zero_gradients,
)
from zsrobust.evaluation.checks.probe import Probe, in_batches, spread
from zsrobust.evaluation.checks.row_groups import no_gradient
from zsrobust.evaluation.checks.snapshot import snapshots
from zsrobust.evaluation.checks.state_checks import batch_independent, stateless
from zsrobust.evaluation.outcomes import TIE
from zsrobust.evaluation.results import Finding, SanityReport
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import NoGradient, RequestError, RunError
from zsrobust.utils.progress import Steps

FEWEST = 10
SAMPLES = 100

CHECKS: tuple[Callable[[Probe], Finding], ...] = (
    repeatable,
    batch_independent,
    softmax_range,
    zero_gradients,
    finite_differences,
    loss_rises,
    logit_scale,
    falls_along_eps,
    falls_at_large_eps,
    pgd_beats_noise,
    pgd_beats_black_box,
    stateless,
)


def sanity(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    sample_ids: Sequence[str],
    threat: ThreatModel,
    *,
    seed: int = 0,
) -> list[Finding]:
    """What every check of :data:`CHECKS` finds; samples that the model has wrong are left out.

    A hundred samples are enough and cost about 210 gradients and 310 forwards of each. The model
    and the global random state are left as they were found.

    Args:
        classifier: images in [0, 1], shape (N, 3, H, W), to logits (N, C).
        images: N samples in [0, 1], on the classifier's device.
        labels: their true classes, (N,).
        sample_ids: N names that key the noise.
        threat: where the evaluation attacks; eps above 0.
        seed: of every random number.

    Raises:
        RequestError: if eps is 0, images, labels or ids are not as described, all classes have the
            same logit in most samples, or fewer than 10 samples are classified correctly.
        Diverged: if a pixel is NaN.
    """
    if threat.eps <= 0:
        raise RequestError(f"eps is {threat.eps}: the sanity checks attack, so it must be above 0")
    zero_shot = classifier if isinstance(classifier, ZeroShotClassifier) else None
    require_samples(threat, zero_shot, images, labels, sample_ids)
    devices = [images.device] if images.is_cuda else []
    with (
        frozen(classifier),
        torch.random.fork_rng(devices),
        snapshots([classifier], fork=True),
    ):
        # A randomised model draws from the global stream: the same findings every time.
        torch.manual_seed(seed)
        right = _right(classifier, images, labels) if len(images) else labels
        if len(right) < FEWEST:
            raise RequestError(
                f"only {len(right)} of {len(images)} samples are classified correctly: the sanity "
                f"checks need {FEWEST} or more, so give more samples"
            )
        probe = Probe(
            model=classifier,
            images=images[right].detach(),
            labels=labels[right],
            sample_ids=[sample_ids[row] for row in right.tolist()],
            threat=threat,
            seed=seed,
        )
        return [_checked(check, probe) for check in CHECKS]


@torch.no_grad()
def _right(classifier: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits = in_batches(classifier, images)
    tied = int((spread(logits) < TIE).sum())
    if tied > len(logits) / 2:
        raise RequestError(
            f"in {tied} of {len(logits)} samples all classes have the same logit: the model cannot "
            "tell the classes apart, so there is nothing to attack; check the class names and the "
            "weights"
        )
    return (logits.argmax(-1) == labels).nonzero()[:, 0]


def _checked(check: Callable[[Probe], Finding], probe: Probe) -> Finding:
    name = check.__name__.replace("_", " ")
    try:
        return check(probe)
    except NoGradient:
        return no_gradient(name)
    except RunError as error:
        why = (
            "A NaN gradient stops every attack here, and makes other implementations leave the "
            "image as it is. Find where the model divides by zero or overflows."
        )
        return Finding(name, False, f"the check could not run: {error}", {}, why)
    except (RuntimeError, ValueError) as error:
        why = (
            "The model refuses a batch that an attack asks about, such as a single image, and an "
            "evaluation may end the same way: make it answer for any number of images."
        )
        return Finding(name, False, f"the check could not run: {error}", {}, why)


def check_cells(cells: list[Cell], config: EvaluateConfig) -> list[SanityReport]:
    """One report a cell, at the first radius above 0."""
    eps = next(eps for eps in config.eps if eps > 0)
    reports = []
    with Steps("sanity checks", len(cells)) as progress:
        for cell in cells:
            reports.append(_check(cell, ThreatModel(config.norm, float(eps)), config.seed))
            progress.advance()
    return reports


def _check(cell: Cell, threat: ThreatModel, seed: int) -> SanityReport:
    batch = _drawn(cell, seed)
    findings: list[Finding] = []
    refused = ""
    try:
        findings = sanity(
            cell.measurement.classifier,
            batch.images,
            batch.labels,
            batch.sample_ids,
            threat,
            seed=seed,
        )
    except RequestError as error:
        refused = str(error)
    return SanityReport(
        model=cell.model.name,
        dataset=cell.images.name,
        norm=threat.norm,
        eps=threat.eps,
        n=len(batch),
        findings=findings,
        refused=refused,
    )


def _drawn(cell: Cell, seed: int) -> Batch:
    """Up to a hundred samples that the model has right, drawn by seed."""
    drawn = keyed_order(cell.images.sample_ids, seed, "sanity")
    right: list[int] = []
    for at in range(0, len(drawn), SAMPLES):
        some = drawn[at : at + SAMPLES]
        correct = cell.measurement.clean(some).right
        right += [index for index, is_correct in zip(some, correct, strict=True) if is_correct]
        if len(right) >= SAMPLES:
            break
    # Where no sample is right, ``sanity`` refuses by itself; it needs an image to do so.
    return next(cell.measurement.batches(right[:SAMPLES] or drawn[:1], SAMPLES))
