"""Sanity checks of the attack on a model: does it do what an attack that works would do?"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from zsrobust.attacks.losses import cross_entropy, margin
from zsrobust.attacks.pgd import pgd_until_wrong
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.evaluation.checks.probe import (
    Probe,
    in_batches,
    random_search,
    rescaled_cross_entropy,
    significantly_more,
)
from zsrobust.evaluation.results import Finding
from zsrobust.evaluation.statistics import wilson_interval
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.units import Eps

STEPS = (1, 10, 40)
LARGE_EPS = 0.5
LARGE_STEPS = 100
LARGE_MOST = 0.05
NOISE_DRAWS = 10
NOISE_FEWEST = 3
QUERIES = 200
LOST_SHARE = 0.05


def loss_rises(probe: Probe) -> Finding:
    """PGD's loss rises from its random start, and does not fall again with more steps."""
    losses = [probe.losses(probe.attacked(steps)) for steps in (0, *STEPS)]
    means = [float(loss.mean()) for loss in losses]
    rise = max(means) - means[0]
    lost = False
    for fewer, more in pairwise(losses[1:]):
        drop = fewer - more
        error = float(drop.std()) / len(drop) ** 0.5
        lost |= float(drop.mean()) > max(2 * error, LOST_SHARE * rise)
    passed = means[-1] > means[0] and not lost
    progress = ", ".join(f"{mean:.3g} after {s}" for mean, s in zip(means[1:], STEPS, strict=True))
    return Finding(
        "loss rises with steps",
        passed,
        f"the mean loss is {means[0]:.3g} at PGD's random start, {progress} steps",
        {f"loss_{steps}": mean for steps, mean in zip((0, *STEPS), means, strict=True)},
        "More steps find more loss, or as much."
        if passed
        else "Gradient ascent does not ascend: the gradient is zero, random or points elsewhere. "
        "See which of the gradient checks failed; try another loss, smaller steps and restarts.",
    )


def falls_at_large_eps(probe: Probe) -> Finding:
    """At eps 0.5, where any image can be made grey, no sample stays correct (Carlini et al. 2019).

    PGD starts at the image itself, so that gradients and not noise have to do the work. Under L2
    the radius is that of the same change to every pixel.
    """
    pixels = probe.images[0].numel()
    eps = LARGE_EPS if probe.threat.norm == "linf" else LARGE_EPS * pixels**0.5
    threat = probe.at(max(eps, probe.threat.eps))

    def on_batch(images: Tensor, labels: Tensor) -> Tensor:
        return pgd_until_wrong(
            probe.differentiable,
            cross_entropy,
            images,
            labels=labels,
            aims=labels,
            threat=threat,
            steps=LARGE_STEPS,
            step_size=2.5 * threat.eps / LARGE_STEPS,
        )

    found = in_batches(on_batch, probe.images, probe.labels)
    n = len(found)
    standing = n - int(probe.fallen(found).sum())
    lowest, _ = wilson_interval(standing, n)
    passed = lowest <= LARGE_MOST
    return Finding(
        "falls at a large eps",
        passed,
        f"{standing} of {n} samples stand {LARGE_STEPS} steps of PGD at {threat.norm} "
        f"{threat.eps:.3g}, where none can",
        {"eps": threat.eps, "standing": standing / n, "lower_bound": lowest},
        "The attack reaches every sample when it may go anywhere."
        if passed
        else "So large a change destroys any image, so it is the attack that fails, and at a small "
        "eps as well: the gradients do not lead it. Use another loss or a black-box attack.",
    )


def falls_along_eps(probe: Probe) -> Finding:
    """PGD-10 fells no fewer samples at a larger eps, from half to four times the one asked for.

    Under L-inf none may be the whole pixel range.
    """
    largest = 1.0 if probe.threat.norm == "linf" else float("inf")
    radii = [probe.threat.eps * factor for factor in (0.5, 1.0, 2.0, 4.0)]
    threats = [probe.at(eps) for eps in radii if eps < largest]
    fallen = [probe.fallen(probe.attacked(10, threat=threat)) for threat in threats]
    passed = not any(significantly_more(small, large) for small, large in pairwise(fallen))
    standing = [1 - float(which.float().mean()) for which in fallen]
    return Finding(
        "falls along eps",
        passed,
        "PGD-10 leaves "
        + ", ".join(
            f"{share:.0%} standing at {_short(threat)}"
            for share, threat in zip(standing, threats, strict=True)
        ),
        {f"standing_{_short(t)}": share for share, t in zip(standing, threats, strict=True)},
        "A larger ball leaves fewer standing, or as many."
        if passed
        else "What is adversarial at a smaller eps is allowed at a larger one, so the attack gets "
        "lost on the way: more and smaller steps, restarts, another loss.",
    )


def pgd_beats_noise(probe: Probe) -> Finding:
    """PGD-10 fells more samples than the best of ten draws of uniform noise in the same ball.

    Not judged while noise fells fewer than three.
    """
    noisy = torch.zeros_like(probe.labels, dtype=torch.bool)
    for draw in range(NOISE_DRAWS):
        noise = uniform_noise(
            probe.images, probe.sample_ids, seed=probe.seed, purpose="random", restart=draw
        )
        noisy |= probe.fallen(probe.threat.start(probe.images, noise))
    by_noise, by_pgd = int(noisy.sum()), int(probe.fallen(probe.attacked(10)).sum())
    n = len(noisy)
    # Where PGD fells everything, noise may as well.
    passed = by_noise < max(NOISE_FEWEST, by_pgd) or by_pgd == n
    return Finding(
        "PGD beats noise",
        passed,
        f"random noise fells {by_noise} of {n} samples in {NOISE_DRAWS} draws, PGD-10 {by_pgd}",
        {"fallen_to_noise": by_noise / n, "fallen_to_pgd": by_pgd / n},
        "The attack's direction is better than chance."
        if passed
        else "A direction drawn blindly does as well as the one the gradient gave: the gradient "
        "is worth nothing here, or the model falls to any change at all.",
    )


def pgd_beats_black_box(probe: Probe) -> Finding:
    """Random search, which sees logits alone, surely fells no more samples than PGD-40."""
    found = random_search(probe, lambda x: margin(probe.logits(x), probe.labels), queries=QUERIES)
    black, white = probe.fallen(found), probe.fallen(probe.attacked(STEPS[-1]))
    passed = not significantly_more(black, white)
    n = len(black)
    return Finding(
        "PGD beats a black box",
        passed,
        f"random search with {QUERIES} queries fells {int(black.sum())} of {n} samples, "
        f"PGD-{STEPS[-1]} {int(white.sum())}",
        {
            "fallen_to_search": float(black.float().mean()),
            "fallen_to_pgd": float(white.float().mean()),
        },
        "Gradients help the attack."
        if passed
        else "An attack that never sees a gradient finds more: the gradients are masked, and the "
        "white-box accuracy is not robustness. Report the black-box number until an attack with "
        "gradients beats it.",
    )


def logit_scale(probe: Probe) -> Finding:
    """Cross-entropy at the model's own scale fells as many as losses that know no scale.

    The margin of the logits and the cross-entropy of rescaled logits; only a difference beyond
    chance counts (Croce and Hein 2020 on why DLR exists; Tramer et al. 2020).
    """
    own = probe.fallen(probe.attacked(10))
    by_margin = probe.fallen(probe.attacked(10, loss=margin))
    rescaled = probe.fallen(probe.attacked(10, loss=rescaled_cross_entropy))
    passed = not (significantly_more(by_margin, own) or significantly_more(rescaled, own))
    counts = [int(which.sum()) for which in (own, by_margin, rescaled)]
    n = len(own)
    return Finding(
        "logit scale",
        passed,
        f"of {n} samples PGD-10 fells {counts[0]} with cross-entropy at the model's own scale, "
        f"{counts[1]} with the margin loss, {counts[2]} with rescaled logits",
        {
            "fallen_own_scale": counts[0] / n,
            "fallen_margin": counts[1] / n,
            "fallen_rescaled": counts[2] / n,
        },
        "The scale of the logits does not shield the model."
        if passed
        else "The scale of the logits, not the model, holds the attack off: a temperature too low "
        "or too high. Evaluate with a margin loss or at another logit scale; AutoAttack's DLR is "
        "made for this.",
    )


def _short(threat: ThreatModel) -> str:
    return str(Eps(threat.eps)) if threat.norm == "linf" else f"{threat.eps:.3g}"
