"""Image towers of convolutions with every BatchNorm folded into the convolution before it.

With stored statistics a BatchNorm is a factor and a shift for each channel, which the convolution
before it can have in its weights. The function stays the same up to rounding, with half as many
layers to pass. That counts in attacks on few images, bound by the number of layers, and for small
towers on a CPU, bound by what each layer writes to memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from zsrobust.models.photo_lite import CentredTower

FOLDED = (ModifiedResNet, CentredTower)
"""CLIP's ResNets and photo-lite's tower: every convolution of theirs is followed by its BatchNorm.
"""


def folded(encoder: nn.Module) -> nn.Module:
    """A copy for evaluation; what is none of ``FOLDED`` comes back as it is."""
    if not isinstance(encoder, FOLDED):
        return encoder
    short = _shape(encoder)
    short.load_state_dict(_tensors(encoder))
    return short.requires_grad_(False)


def folded_in_training(encoder: nn.Module) -> nn.Module:
    """``encoder`` itself, computed that way from its weights at each call.

    Only for a training that normalises with the stored statistics and leaves them as they are.
    What is none of ``FOLDED``, or has weights computed from others (LoRA), comes back as it is.
    """
    computed = any(parametrize.is_parametrized(module) for module in encoder.modules())
    return Folded(encoder) if isinstance(encoder, FOLDED) and not computed else encoder


class Folded(nn.Module):
    """A tower of ``FOLDED`` whose weights may change from call to call.

    Its parameters are those of the tower, and gradients reach all of them.

    Args:
        encoder: preprocessed images (N, 3, S, S) to raw embeddings (N, dim).
    """

    encoder: nn.Module

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        # In a tuple, since a module's own modules have weights that count.
        self._shape = (_shape(encoder).to("meta"),)

    def forward(self, pixels: Tensor) -> Tensor:
        """Raw embeddings (N, dim) of preprocessed images (N, 3, S, S)."""
        tensors = _tensors(self.encoder)
        embeddings: Tensor = functional_call(self._shape[0], tensors, (pixels,), strict=True)
        return embeddings


def _shape(encoder: nn.Module) -> nn.Module:
    """A copy in evaluation mode without BatchNorms, whose convolutions have a bias, of no value."""
    short = copy.deepcopy(encoder).eval()
    for place, of_norm in _pairs(short):
        convolution, norm = short.get_submodule(place), short.get_submodule(of_norm)
        convolution.bias = nn.Parameter(torch.zeros_like(norm.bias))  # type: ignore[arg-type]
        parent, _, name = of_norm.rpartition(".")
        # timm's BatchNorm has the activation in it.
        setattr(short.get_submodule(parent), name, getattr(norm, "act", nn.Identity()))
    return short


def _tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of the tower's shape, by name, computed from the tower's own.

    Gradients pass, which ``torch.nn.utils.fusion`` would cut.
    """
    tensors = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    for convolution, norm in _pairs(encoder):
        mean, variance = (tensors.pop(f"{norm}.running_{what}") for what in ("mean", "var"))
        gain, shift = (tensors.pop(f"{norm}.{what}") for what in ("weight", "bias"))
        del tensors[f"{norm}.num_batches_tracked"]
        factor = gain * torch.rsqrt(variance + encoder.get_submodule(norm).eps)  # type: ignore[operator]
        weight = tensors[f"{convolution}.weight"]
        tensors[f"{convolution}.weight"] = weight * factor[:, None, None, None]
        tensors[f"{convolution}.bias"] = shift - mean * factor
    return tensors


def _pairs(encoder: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of each convolution and of its BatchNorm: they alternate within a module."""
    for prefix, module in list(encoder.named_modules()):
        path = f"{prefix}." if prefix else ""
        layers = [(path + name, layer) for name, layer in module.named_children()]
        convolutions = [name for name, layer in layers if isinstance(layer, nn.Conv2d)]
        norms = [name for name, layer in layers if isinstance(layer, nn.BatchNorm2d)]
        yield from zip(convolutions, norms, strict=True)
