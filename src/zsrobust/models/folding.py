"""CLIP's ResNets with every BatchNorm folded into the convolution before it."""

from __future__ import annotations

import copy

from open_clip.modified_resnet import ModifiedResNet
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def folded(encoder: nn.Module) -> nn.Module:
    """The same function up to rounding, for evaluation: a copy with half as many layers to pass.

    Attacks on few images at a time are bound by the number of layers, forward and backward. What
    is no ResNet of open_clip comes back as it is.
    """
    if not isinstance(encoder, ModifiedResNet):
        return encoder
    encoder = copy.deepcopy(encoder).eval()
    for module in list(encoder.modules()):
        layers = dict(module.named_children())
        pairs = [(f"conv{n}", f"bn{n}") for n in range(1, 4)]
        if isinstance(module, nn.Sequential):
            pairs = list(zip(layers, list(layers)[1:], strict=False))
        for convolution, norm in pairs:
            first, second = layers.get(convolution), layers.get(norm)
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, convolution, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    return encoder.requires_grad_(False)
