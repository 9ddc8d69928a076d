"""Losses on fixed embeddings: as the package computes them, and differences of a formula."""

import numpy as np
import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.objectives import StepContext

N, DIM, CLASSES, PATCHES, GLOBAL = 6, 6, 5, 9, 10


@pytest.fixture
def case(classifier):
    """A classifier, embeddings and tokens of each view by model, and labels: always the same."""
    random = np.random.default_rng(0)
    model = classifier(logit_scale=7.0)
    views = {
        name: random.normal(size=(N, DIM))
        for name in ("student_adversarial", "student_clean", "teacher_adversarial")
    }
    labels = random.integers(0, CLASSES, N)
    views["teacher_clean"] = random.normal(size=(N, DIM))
    views["proxy"] = random.normal(size=(N, CLASSES))
    for name in [name for name in views if name != "proxy"]:
        views[f"{name}_tokens"] = random.normal(size=(N, PATCHES, DIM))
    return model, views, labels


@pytest.fixture
def computed():
    """Loss parts, and the gradient by view, as the package computes them from what is needed."""

    def compute(objective, model, views, labels, texts=(), head=None):
        tensors = {
            name: torch.tensor(value, dtype=torch.float32).requires_grad_(
                name.startswith("student")
            )
            for name, value in views.items()
        }
        needs = objective.needs
        step = StepContext(
            model,
            Batch(torch.zeros(len(labels), 3, 1, 1), torch.tensor(labels), []),
            PGD(ThreatModel()),
            global_batch=GLOBAL,
            texts=tuple(torch.tensor(text).float() for text in texts),
            head=head,
            proxy=tensors["proxy"] if needs.proxy else None,
            student={view: tensors[f"student_{view}"] for view in needs.student},
            teacher={view: tensors[f"teacher_{view}"] for view in needs.teacher},
            student_tokens={
                view: tensors[f"student_{view}_tokens"] for view in needs.student if needs.tokens
            },
            teacher_tokens={
                view: tensors[f"teacher_{view}_tokens"] for view in needs.teacher if needs.tokens
            },
        )
        parts = objective.loss(step)
        parts["total"].backward()
        gradients = {name: value.grad for name, value in tensors.items() if value.grad is not None}
        return {name: float(value.detach()) for name, value in parts.items()}, gradients

    return compute


@pytest.fixture
def differences():
    """Central differences of ``function(views)`` in the entries of one view."""

    def differentiate(function, views, name, step=1e-5):
        gradient = np.zeros_like(views[name])
        for place in np.ndindex(gradient.shape):
            values = []
            for sign in (1, -1):
                moved = views[name].copy()
                moved[place] += sign * step
                values.append(function({**views, name: moved}))
            gradient[place] = (values[0] - values[1]) / (2 * step)
        return gradient

    return differentiate
