"""``wise(MODEL, ALPHA)``: the weights between an original and what was fine-tuned from it.

Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT), CVPR 2022, arXiv 2109.01903.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.name_forms import Form
from zsrobust.models.text_side import TowerText
from zsrobust.models.visual_prompts import VisualPrompt
from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import require


def load_wise(form: Form, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model ``wise(MODEL, ALPHA)``: (1 - ALPHA) of its original's weights, ALPHA of its own.

    Everything but the image encoder's tensors, and those of a text tower that was fine-tuned with
    it, is MODEL's.

    Args:
        form: the name.
        load: loads MODEL by name, and its original.

    Raises:
        RequestError: if ALPHA is no number in [0, 1], or MODEL was not fine-tuned, has a visual
            prompt, or is defended.
    """
    if len(form.arguments) != 2 or form.options:
        raise RequestError(f"model {form.name!r}: write wise(MODEL, ALPHA), as in wise(RUN, 0.5)")
    name, share = form.arguments
    try:
        alpha = float(share)
    except ValueError:
        raise RequestError(f"model {form.name!r}: ALPHA is {share!r}: must be a number") from None
    require(0 <= alpha <= 1, f"model {form.name!r}: ALPHA", share, "between 0 and 1")
    tuned = load(name)
    tuned.require_undefended("an interpolation of weights")
    if tuned.method == "original":
        raise RequestError(
            f"model {form.name!r}: {name} was not fine-tuned, so there is nothing between it and "
            "its original"
        )
    if isinstance(tuned.encoder, VisualPrompt):
        raise RequestError(
            f"model {form.name!r}: {name} has a visual prompt ({tuned.adapter.made.label}), of "
            "which its original has no counterpart to interpolate with"
        )
    original = load(tuned.source)
    interpolate(tuned.encoder, original.encoder, alpha)
    text = tuned.text
    if isinstance(text, TowerText) and text.tuned and isinstance(original.text, TowerText):
        weights = between(text.model, original.text.model, alpha)
        text = text.with_weights(weights, tuned=True)
    # The run's accuracies are those of its own weights.
    record = {key: value for key, value in tuned.record.items() if key != "held_out"}
    method = f"wise({tuned.method}, {alpha:g})"
    return replace(tuned, name=form.name, method=method, record=record, text=text)


@torch.no_grad()
def interpolate(tuned: nn.Module, original: nn.Module, alpha: float) -> None:
    """Move ``tuned``'s floating tensors to (1 - alpha) of ``original``'s and alpha of their own.

    BatchNorm's statistics are among them. At 0 and 1 the result is either end, bit for bit; other
    tensors, such as counters, are those of ``tuned``.
    """
    tuned.load_state_dict(between(tuned, original, alpha))


def between(tuned: nn.Module, original: nn.Module, alpha: float) -> dict[str, Tensor]:
    """The tensors that :func:`interpolate` gives ``tuned``."""
    ours, theirs = tuned.state_dict(), original.state_dict()
    return {name: _between(ours[name], theirs[name], alpha) for name in ours}


def _between(ours: Tensor, theirs: Tensor, alpha: float) -> Tensor:
    if alpha == 1 or not ours.is_floating_point():
        return ours
    return theirs if alpha == 0 else torch.lerp(theirs, ours, alpha)
