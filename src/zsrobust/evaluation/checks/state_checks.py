"""Sanity checks of whether predictions depend on other images of the batch, or on earlier queries.

A model may withstand an attack only because it has seen the queries of the attack; adversarial
images generated on another copy then succeed. Chen, Carlini and Wagner, "Stateful detection of
black-box adversarial attacks" (2019, arXiv 1907.05587), and Li et al., "Blacklight: scalable
defense for neural networks against query-based black-box attacks" (USENIX Security 2022) are such
defences, meant for attacks of many queries. Of models that adapt to their test batch: Wang et al.,
"Tent: fully test-time adaptation by entropy minimization" (ICLR 2021); Chen et al., "Towards
evaluating the robustness of neural networks learned by transduction" (ICLR 2022).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from zsrobust.evaluation.checks.probe import Probe, significantly_more, spread
from zsrobust.evaluation.checks.snapshot import Snapshot, snapshot_of
from zsrobust.evaluation.results import Finding

TOLERANCE = 1e-3
"""Of the spread of an image's logits: another batch or order of sums moves them by less."""
TOGETHER = 64

RANDOM = (
    "The model draws random numbers. One gradient is a sample of many, and a prediction that was "
    "right once may be wrong the next time: switch the randomness off, or average gradients over "
    "draws (EOT) and report it with the number."
)
TRANSDUCTIVE = (
    "The answer for an image depends on the other images of its batch (transductive): batch "
    "statistics, or adaptation to the batch. An accuracy holds for batches like these alone, and "
    "an attack on one image at a time is another attack than one on the whole batch. Evaluate with "
    "stored statistics, or report how batches are made up with the number."
)
STATEFUL = (
    "The model has state: its answers depend on what it was asked before (a memory, a counter, "
    "detection of similar queries, adaptation at test time). Robust accuracy counts answers that "
    "the attack itself has changed; images that were made on another copy meet none of that. "
    "Evaluate with an unqueried copy for each image, on images attacked elsewhere."
)


def changed(first: Tensor, second: Tensor) -> Tensor:
    """Of which images the logits (N, C) differ by more than rounding, (N,) of bool."""
    return (first - second).abs().amax(-1) > TOLERANCE * spread(first).mean()


@torch.no_grad()
def answers_alone(snapshot: Snapshot, model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, C) of ``images``, each shown to a copy of its own; infinite where it refuses."""
    try:
        return torch.cat([snapshot.copy(model)(image[None]).float() for image in images])
    except (RuntimeError, ValueError):
        # Batch statistics of one image are none: such a model cannot be asked about it.
        logits: Tensor = snapshot.copy(model)(images).float()
        return torch.full_like(logits, torch.inf)


@torch.no_grad()
def batch_independent(probe: Probe) -> Finding:
    """An image alone has the logits that it has in a batch, each asked of an unqueried copy."""
    snapshot, images = snapshot_of(probe.model), probe.images[:TOGETHER]

    def asked(images: Tensor) -> Tensor:
        logits: Tensor = snapshot.copy(probe.model)(images).float()
        return logits

    together = asked(images)
    n = len(together)
    alone = answers_alone(snapshot, probe.model, images)
    other, redrawn = changed(together, alone), changed(together, asked(images))
    flips = float((together.argmax(-1) != alone.argmax(-1)).float().mean())
    passed = not significantly_more(other, redrawn)
    return Finding(
        "independent of the batch",
        passed,
        f"{int(other.sum())} of {n} images have other logits alone than in a batch of {n}; "
        f"{flips:.0%} of the predictions change",
        {"changed": float(other.float().mean()), "changed_predictions": flips},
        "An answer is about its image alone." if passed else TRANSDUCTIVE,
    )


def stateless(probe: Probe) -> Finding:
    """After all attacks the model answers as an unqueried copy does that has never been asked.

    A copy each is asked about the clean images alone, and about PGD's images alone: of these
    images, and of their mirror images, which nobody can have asked about before.
    """
    snapshot = snapshot_of(probe.model)
    seen = probe.images.flip(-1)
    mirrored = replace(
        probe, images=seen, labels=probe.logits(seen).argmax(-1), _attacked={}
    ).attacked(10)
    places = {"clean": probe.images, "pgd_10": probe.attacked(10), "mirrored_pgd_10": mirrored}
    figures: dict[str, float] = {}
    found = []
    for place, images in places.items():
        before, again = (snapshot.answers(probe.model, images) for _ in range(2))
        now = probe.logits(images)
        other = changed(before, now)
        found.append(significantly_more(other, changed(before, again)))
        flips = before.argmax(-1) != now.argmax(-1)
        figures[f"changed_{place}"] = float(other.float().mean())
        figures[f"changed_predictions_{place}"] = float(flips.float().mean())
    moved = snapshot.weights_moved(probe.model)
    passed = not (any(found) or moved)
    shares = ", ".join(
        f"{figures[f'changed_{place}']:.0%} ({figures[f'changed_predictions_{place}']:.0%})"
        for place in places
    )
    return Finding(
        "keeps no state",
        passed,
        "after all attacks the logits (the prediction) differ from an unqueried copy's for these "
        f"shares of clean images, PGD-10's, and PGD-10's of mirror images: {shares}"
        + ("; weights were written to" if moved else ""),
        {**figures, "weights_moved": float(moved)},
        "It does not matter what the model was asked before." if passed else STATEFUL,
    )
