"""A batch: images in [0, 1], their labels, and the ids that key their noise."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.utils.lazy import Tensor, torch


@dataclass
class Batch:
    """Images (N, 3, H, W) in [0, 1], labels (N,), and N sample ids."""

    images: Tensor
    labels: Tensor
    sample_ids: list[str]

    def __len__(self) -> int:
        return len(self.sample_ids)

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        return Batch(
            self.images.to(device, non_blocking=True),
            self.labels.to(device, non_blocking=True),
            self.sample_ids,
        )
