"""A black-box attack in a page: random search over squares of full-strength noise.

The idea of Andriushchenko et al., "Square attack" (ECCV 2020), with keyed noise and few queries:
enough to tell whether an attack that sees only logits beats one that sees gradients.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zsrobust.evaluation.probe import Probe
from zsrobust.utils.noise import uniform_noise


@torch.no_grad()
def random_search(probe: Probe, score: Callable[[Tensor], Tensor], queries: int) -> Tensor:
    """Images (N, 3, H, W) of the threat model with a ``score`` (N,) as high as was found.

    Each query repaints one square a sample with signs of size eps, and keeps it if that helps.
    """
    images, eps = probe.images, probe.threat.eps
    height, width = images.shape[-2:]
    signs = uniform_noise(images, probe.sample_ids, seed=probe.seed, purpose="search start").sign()
    # Stripes of one sign a column: the start that Square found strongest.
    best = probe.threat.project(images, images + eps * signs[:, :, :1, :])
    highest = score(best)
    rows = torch.arange(height, device=images.device)[None, :, None]
    columns = torch.arange(width, device=images.device)[None, None, :]
    for query in range(queries):
        # Squares shrink from half the area to one in a hundred.
        side = max(1, round((0.5 * 0.02 ** (query / queries) * height * width) ** 0.5))
        draw = uniform_noise(
            images[:, :1, :1, :1].expand(-1, 5, 1, 1).contiguous(),
            probe.sample_ids,
            seed=probe.seed,
            purpose="search",
            restart=query,
        )
        top = ((draw[:, 3] + 1) / 2 * max(1, height - side + 1)).long()
        left = ((draw[:, 4] + 1) / 2 * max(1, width - side + 1)).long()
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        painted = images + eps * draw[:, :3].sign()
        candidate = probe.threat.project(images, torch.where(inside[:, None], painted, best))
        found = score(candidate)
        better = found > highest
        best = torch.where(better[:, None, None, None], candidate, best)
        highest = torch.where(better, found, highest)
    return best
