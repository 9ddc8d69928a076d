"""``python -m benchmarks autoattack`` and ``autoattack-passes``: ours, the library's, its costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.evaluation import DATA_SET, SEED, Subject, comparison_rows, embedded_subject
from benchmarks.timing import Call
from zsrobust.attacks import Attack, Ensemble, LibraryAttack, ThreatModel, make_attack

LIBRARY = "autoattack, pyautoattack"
SETTINGS = (
    ("glyph-clip", 16, 1 / 255),
    ("glyph-clip", 16, 4 / 255),
    ("glyph-clip-robust", 64, 7 / 255),
)
"""Model, images and radius: most samples are robust, none is, a third is."""
OPERATIONS = ("forward", "backward", "rest")
SHORTER = {"n_iter": 6, "n_queries": 300, "n_target_classes": 2}
"""Of each part's parameters, to count passes by; a pass costs the same early and late."""


def autoattack_evaluation(
    model: str | None, device: str, *, rounds: int
) -> Iterator[dict[str, object]]:
    """AutoAttack, ours and that of ``pyautoattack``, with the samples robust to each.

    Random numbers differ between the two, so the outcome of borderline samples may differ. Only the
    settings of ``model`` if one is given.
    """
    for name, n, eps in SETTINGS:
        if model in (None, name):
            yield from _compared(name, n, eps, device, rounds)


def _compared(
    model: str, n: int, eps: float, device: str, rounds: int
) -> Iterator[dict[str, object]]:
    own = embedded_subject(n, device, model)
    robust: dict[str, Tensor] = {}

    def ours(name: str, attack: Attack) -> None:
        robust[name] = own.robust(attack)

    def library() -> None:
        robust[LIBRARY] = robust_pyautoattack(own, eps)

    threat = ThreatModel(eps=eps)
    calls: dict[str, Call] = {
        f"{name}, ours": partial(ours, f"{name}, ours", make_attack(name, threat, seed=SEED))
        for name in ("autoattack", "autoattack-early")
    }
    calls[LIBRARY] = library
    title = f"{model}, {n} images of {DATA_SET} at {255 * eps:g}/255, {device}"
    for row in comparison_rows(title, calls, rounds, torch.device(device), n):
        found = robust[str(row["implementation"])]
        row["clean"] = int(own.correct(own.images).sum())
        row["robust"] = int(found.sum())
        row["outcomes_that_differ"] = int((found != robust[LIBRARY]).sum())
        yield row


def robust_pyautoattack(subject: Subject, eps: float) -> Tensor:
    from pyautoattack import AutoAttack

    attack = AutoAttack(
        subject.classifier, eps=eps, norm="Linf", seed=SEED, device=subject.images.device
    )
    adversarial = attack.run_standard_evaluation(
        subject.images, subject.labels, batch_size=len(subject.labels)
    )
    adversarial = adversarial[0] if isinstance(adversarial, tuple) else adversarial
    return subject.correct(subject.images) & subject.correct(adversarial)


def autoattack_passes(device: str, *, rounds: int, n: int = 20) -> Iterator[dict[str, object]]:
    """CPU seconds that a sample which stands to the end takes in each part of AutoAttack.

    On ``n`` images at a radius at which all stand, with ``SHORTER`` parameters, scaled by
    ``Attack.passes``. All threads count, so use one (``OMP_NUM_THREADS=1``).
    """
    own = embedded_subject(n, device, "glyph-clip-robust")
    autoattack = make_attack("autoattack", ThreatModel(eps=1e-6), seed=SEED)
    assert isinstance(autoattack, Ensemble)
    for part in autoattack.parts:
        found = [_seconds(own, part) for _ in range(rounds)]
        row: dict[str, object] = {"part": part.name, "passes": part.passes}
        for what in OPERATIONS:
            row[what] = statistics.median(seconds[what] for seconds in found)
        yield row


def _seconds(own: Subject, part: Attack) -> dict[str, float]:
    """CPU seconds a sample by operation."""
    assert isinstance(part, LibraryAttack)
    fewer = {key: SHORTER.get(key, value) for key, value in part.parameters.items()}
    short = replace(part, parameters=fewer)
    spent = dict.fromkeys(OPERATIONS, 0.0)
    with (
        _clocked(type(own.classifier), "forward", spent, "forward"),
        _clocked(torch.autograd, "grad", spent, "backward"),
        _clocked(Tensor, "backward", spent, "backward"),
    ):
        start = time.process_time()
        short(own.classifier, own.images, own.labels, own.ids)
        spent["rest"] = time.process_time() - start - spent["forward"] - spent["backward"]
    scale = part.passes / short.passes / len(own.ids)
    return {what: seconds * scale for what, seconds in spent.items()}


@contextmanager
def _clocked(owner: object, name: str, spent: dict[str, float], what: str) -> Iterator[None]:
    """Add the CPU seconds of calls of ``owner.name`` to ``spent[what]``."""
    called: Callable[..., object] = getattr(owner, name)

    def call(*arguments: object, **options: object) -> object:
        start = time.process_time()
        try:
            return called(*arguments, **options)
        finally:
            spent[what] += time.process_time() - start

    with patch.object(owner, name, call):
        yield
