"""Sanity checks of the model that an attack differentiates: are its gradients worth following?"""

from __future__ import annotations

import torch
from torch import Tensor

from zsrobust.attacks.losses import cross_entropy
from zsrobust.evaluation.checks.probe import Probe, spread
from zsrobust.evaluation.checks.state_checks import RANDOM
from zsrobust.evaluation.results import Finding
from zsrobust.utils.noise import uniform_noise

ZERO_SAMPLES = 0.05
ZERO_ENTRIES = 0.5
REPEAT_TOLERANCE = 1e-3
FLAT_SPREAD = 0.5
FULL_SPREAD = 87.0
"""exp(-87) is the smallest normal number in fp32: below it a probability has no digits left."""
DIRECTIONS = 4
DIFFERENCE = 0.25 / 255
AGREEMENT = 0.5


def repeatable(probe: Probe) -> Finding:
    """Two forwards of the same images give the same logits (Athalye et al. 2018, section 3)."""
    first, second = probe.logits(probe.images), probe.logits(probe.images)
    size = float(spread(first).mean())
    difference = float((first - second).abs().max())
    flips = float((first.argmax(-1) != second.argmax(-1)).float().mean())
    passed = difference <= REPEAT_TOLERANCE * size
    return Finding(
        "repeatable",
        passed,
        f"two forwards of the same images differ by up to {difference:.2g} in a logit, where the "
        f"logits of an image spread over {size:.2g}; {flips:.0%} of the predictions change",
        {"difference": difference, "spread": size, "changed_predictions": flips},
        "The model answers the same question the same way." if passed else RANDOM,
    )


def zero_gradients(probe: Probe) -> Finding:
    """Input gradients of the cross-entropy are not exactly zero, at the image or along PGD.

    Pixels that no sample has a gradient at are left out: a crop may cut them off.
    """
    places = {
        "clean": probe.images,
        "pgd_1": probe.attacked(1),
        "pgd_10": probe.attacked(10),
    }
    figures: dict[str, float] = {}
    for place, images in places.items():
        zero = probe.gradient(images, cross_entropy) == 0
        without = zero.flatten(1).all(1)
        # Of samples that do have a gradient; the others are counted by themselves.
        rest = zero[~without].flatten(1)
        used = rest[:, ~rest.all(0)]
        figures[f"samples_{place}"] = float(without.float().mean())
        figures[f"entries_{place}"] = float(used.float().mean()) if used.numel() else 0.0
        figures[f"all_entries_{place}"] = float(zero.float().mean())
    samples = max(value for name, value in figures.items() if name.startswith("samples_"))
    entries = max(value for name, value in figures.items() if name.startswith("entries_"))
    passed = samples <= ZERO_SAMPLES and entries <= ZERO_ENTRIES
    return Finding(
        "zero gradients",
        passed,
        f"{figures['all_entries_clean']:.1%} of the gradient entries are exactly zero at the clean "
        f"images and {figures['all_entries_pgd_10']:.1%} after PGD-10; for {samples:.0%} of the "
        "samples every one is, somewhere on the way",
        figures,
        "The attack has a gradient to follow."
        if passed
        else "Where the gradient is zero the attack stays where it is and the sample counts as "
        "robust without having been attacked. Look for a softmax that underflows (logits too "
        "large), rounding, clamping or fp16 inside the model; attack a copy without them, and in "
        "fp32.",
    )


def softmax_range(probe: Probe) -> Finding:
    """Logits are neither so close that cross-entropy sees no classes nor so far that it underflows.

    A spread below 0.5 gives all wrong classes the same weight in the gradient to a factor of 1.6
    (with two classes there is only one, and any scale will do); a true class that leads by more
    than 87 leaves fp32 no digits for the others' probabilities (Carlini and Wagner, "Defensive
    distillation is not robust to adversarial examples", 2016).
    """
    logits = probe.logits(probe.images)
    median = float(spread(logits).median())
    flat = median < FLAT_SPREAD and logits.shape[1] > 2
    second = logits.scatter(1, probe.labels[:, None], -torch.inf).amax(-1)
    ahead = logits.gather(1, probe.labels[:, None])[:, 0] - second
    full = float((ahead > FULL_SPREAD).float().mean())
    passed = not flat and full <= ZERO_SAMPLES
    return Finding(
        "softmax range",
        passed,
        f"the logits of an image spread over {median:.3g} (median); for {full:.0%} of the samples "
        f"the true class leads by more than {FULL_SPREAD:g}",
        {"median_spread": median, "leads_by_more": full},
        "Cross-entropy tells the classes apart and does not underflow."
        if passed
        else "Cross-entropy needs logits on the scale of its exponential: too close and it pushes "
        "towards all classes at once, too far and its gradient is zero. Attack at another logit "
        "scale (CLIP's own is 100) or with a margin loss, which knows no scale.",
    )


def finite_differences(probe: Probe) -> Finding:
    """The gradient foretells how the logits change under a small step in a random direction.

    Compared are the true logit's lead over the mean of all, differentiated and measured by a
    quarter of a grey level to both sides along keyed random signs: no softmax lies between, so
    what is caught is the model itself, such as rounded input. Done at PGD's random start, since
    images as loaded lie in the middle of their rounding steps.
    """
    at, threat = probe.attacked(0), probe.threat
    size = min(threat.eps, DIFFERENCE)
    gradient = probe.gradient(at, _lead)
    measured, foretold = [], []
    for index in range(DIRECTIONS):
        sign = uniform_noise(
            at, probe.sample_ids, seed=probe.seed, purpose="direction", restart=index
        ).sign()
        ahead, behind = (threat.project(at, at + side * size * sign) for side in (1, -1))
        change = _lead(probe.logits(ahead), probe.labels)
        change = change - _lead(probe.logits(behind), probe.labels)
        measured.append(change / 2)
        foretold.append((gradient * (ahead - behind)).flatten(1).sum(1) / 2)
    found, expected = torch.cat(measured), torch.cat(foretold)
    agreement = _correlation(found, expected)
    figures = {
        "agreement": agreement,
        "measured": float(found.abs().mean()),
        "foretold": float(expected.abs().mean()),
    }
    passed = agreement >= AGREEMENT
    return Finding(
        "finite differences",
        passed,
        f"random steps change the true logit by {figures['measured']:.3g} on average where the "
        f"gradient foretells {figures['foretold']:.3g}; the two correlate by {agreement:.2f}",
        figures,
        "The gradient is that of the model."
        if passed
        else "The logits depend on the image in a way the gradient does not show: rounding, "
        "randomness, a detached or non-differentiable part. Attack through a differentiable "
        "stand-in for that part (BPDA) and with a black-box attack.",
    )


def _lead(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.gather(1, labels[:, None])[:, 0] - logits.mean(-1)


def _correlation(first: Tensor, second: Tensor) -> float:
    first, second = first.double() - first.double().mean(), second.double() - second.double().mean()
    length = float(first.norm() * second.norm())
    return float(first @ second) / length if length else 0.0
