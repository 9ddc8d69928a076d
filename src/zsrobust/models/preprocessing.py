"""Pixels to what a tower takes: differentiable resize and normalisation, by named protocol."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn, tensor
from torch.nn import functional as F

from zsrobust.models.protocols import Triple, protocol_named


class Preprocessing(nn.Module):
    """Images in [0, 1], shape (N, 3, H, W), to normalised (N, 3, image_size, image_size).

    Args:
        protocol: a name in ``protocols.PROTOCOLS``.
        image_size: the tower's input side in pixels.
        mean, std: replace the protocol's, for towers trained with others (SigLIP's 0.5).
        interpolation: ``bicubic`` or ``bilinear``, in the place of the protocol's.
        crop: whether the centre is cropped, or both sides are squashed, in the place of the
            protocol's.

    Raises:
        RequestError: if ``protocol`` is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        protocol: str,
        image_size: int,
        mean: Triple | None = None,
        std: Triple | None = None,
        interpolation: str | None = None,
        crop: bool | None = None,
    ) -> None:
        super().__init__()
        named = protocol_named(protocol)
        self.settings = replace(
            named,
            interpolation=interpolation or named.interpolation,
            crop=named.crop if crop is None else crop,
        )
        self.protocol = protocol
        self.image_size = image_size
        self.statistics = {"mean": mean or self.settings.mean, "std": std or self.settings.std}
        for name, values in self.statistics.items():
            self.register_buffer(name, tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Resize where the size differs, then normalise; differentiable in the images."""
        return (self._resize(images) - self.mean) / self.std

    def _resize(self, images: Tensor) -> Tensor:
        size = self.image_size
        height, width = images.shape[-2:]
        if (height, width) == (size, size):
            return images
        target = (size, size)
        if self.settings.crop:
            short = min(height, width)
            target = (size * height // short, size * width // short)
        if target != (height, width):
            # Pillow scales the width first.
            passes = [(height, target[1]), target] if self.settings.clamp else [target]
            for shape in passes:
                images = F.interpolate(
                    images,
                    shape,
                    mode=self.settings.interpolation,
                    align_corners=False,
                    antialias=self.settings.antialias,
                )
                if self.settings.clamp:
                    images = images.clamp(0, 1)
        top, left = round((target[0] - size) / 2), round((target[1] - size) / 2)
        return images[..., top : top + size, left : left + size]

    def with_protocol(self, protocol: str) -> Preprocessing:
        """The same tower's preprocessing under ``protocol``; this one where it is that already.

        Raises:
            RequestError: if ``protocol`` is unknown.
        """
        return self if protocol == self.protocol else Preprocessing(protocol, self.image_size)

    def extra_repr(self) -> str:
        """What :meth:`describe` says, for PyTorch's repr."""
        return ", ".join(f"{key}={value!r}" for key, value in self.describe().items())

    def describe(self) -> dict[str, object]:
        """Everything that changes a number, for the result file."""
        resize = self.settings.interpolation + (", antialias" if self.settings.antialias else "")
        if self.settings.crop != protocol_named(self.protocol).crop:
            resize += ", centre crop" if self.settings.crop else ", squash"
        return {
            "protocol": self.protocol,
            "image_size": self.image_size,
            "resize": resize,
            "mean": list(self.statistics["mean"]),
            "std": list(self.statistics["std"]),
        }
