"""A model's card: the clean and the adversarial image, the perturbation, and the probabilities."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from zsrobust.serve.comparison import Prediction
from zsrobust.serve.html import ENVIRONMENT

TOP = 5
"""Classes shown of a prediction."""

_CARD = ENVIRONMENT.from_string(
    """<section class="card">
<h2>{{ name | breakable }}</h2>
{% if progress %}<p class="step">{{ progress.text }}
<progress value="{{ progress.taken }}" max="{{ progress.steps }}"></progress></p>{% endif %}
<div class="pictures">
{% for picture in pictures %}<figure>
{% if picture.data %}<img decoding="sync" alt="{{ picture.caption }}" src="{{ picture.data }}">
{% else %}<div class="none"></div>{% endif %}
<figcaption>{{ picture.caption }}</figcaption></figure>{% endfor %}
</div>
{% if rows %}<table class="bars"><thead>
<tr><th scope="col">Class</th><th scope="col">Clean</th><th scope="col">Adversarial</th></tr>
</thead><tbody>
{% for row in rows %}<tr><th scope="row">{{ row.name }}</th>
{% for kind, value, top in row.cells %}<td class="{{ kind }}{{ " top" if top }}">
{% if value is not none %}<span class="bar" style="width: {{ "%.1f" % (100 * value) }}%"></span>
<span>{{ "%.0f" % (100 * value) }}%</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>{% endif %}
</section>"""
)


@dataclass(frozen=True)
class Progress:
    """How far an attack is.

    Attributes:
        taken, steps: gradient steps so far, and of all.
        loss: of the iterate.
    """

    taken: int
    steps: int
    loss: float

    @property
    def text(self) -> str:
        """Such as ``Step 4 of 20, loss 1.25``."""
        return f"Step {self.taken} of {self.steps}, loss {self.loss:.2f}"


def card(
    name: str,
    clean: tuple[Tensor, Prediction] | None = None,
    adversarial: tuple[Tensor, Prediction] | None = None,
    *,
    eps: float = 0,
    progress: Progress | None = None,
) -> str:
    """A model's card in HTML.

    Args:
        name: the model's.
        clean: the image (3, S, S) in [0, 1] at its attack resolution, and its prediction.
        adversarial: the same of the adversarial image, or of an iterate of the attack.
        eps: radius of the attack, as a fraction of the pixel range.
        progress: of an attack under way.
    """
    change = magnified(clean[0], adversarial[0], eps) if clean and adversarial else None
    pictures = [
        ("Clean", clean[0] if clean else None),
        ("Adversarial", adversarial[0] if adversarial else None),
        ("Perturbation, magnified", change),
    ]
    return _CARD.render(
        name=name,
        progress=progress,
        pictures=[
            {"caption": caption, "data": None if pixels is None else data_uri(pixels)}
            for caption, pixels in pictures
        ],
        rows=_rows(clean and clean[1], adversarial and adversarial[1]),
    )


def _rows(clean: Prediction | None, adversarial: Prediction | None) -> list[dict[str, object]]:
    """The likeliest classes of both, in the order of the clean image's probabilities."""
    if clean is None:
        return []
    shown = set(clean.likeliest(TOP)) | set(adversarial.likeliest(TOP) if adversarial else ())
    predictions = {"clean": clean, "adversarial": adversarial}
    return [
        {
            "name": name,
            "cells": [
                (kind, given and given.probabilities[name], given is not None and name == given.top)
                for kind, given in predictions.items()
            ],
        }
        for name in clean.probabilities
        if name in shown
    ]


def magnified(clean: Tensor, adversarial: Tensor, eps: float) -> Tensor:
    """The perturbation (3, H, W) in [0, 1]: mid-grey is zero, black and white are -eps and eps."""
    if eps == 0:
        return clean * 0 + 0.5
    return 0.5 + (adversarial - clean) / (2 * eps)


def png(pixels: Tensor) -> bytes:
    """A PNG file of pixels (3, H, W) in [0, 1], rounded to 256 levels."""
    levels = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().contiguous().numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "png")
    return file.getvalue()


def data_uri(pixels: Tensor) -> str:
    """The same as the address of an image in a page."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
