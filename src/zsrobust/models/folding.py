"""Image towers of convolutions with every BatchNorm folded into the convolution before it."""

from __future__ import annotations

import copy

from open_clip.modified_resnet import ModifiedResNet
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zsrobust.models.photo_lite import CentredTower

FOLDED = (ModifiedResNet, CentredTower)
"""CLIP's ResNets and photo-lite's tower: every convolution of theirs is followed by its BatchNorm.
"""


def folded(encoder: nn.Module) -> nn.Module:
    """The same function up to rounding, for evaluation: a copy with half as many layers to pass.

    Attacks on few images at a time are bound by the number of layers, forward and backward, and
    small towers on a CPU by what each layer writes to memory. What is none of ``FOLDED`` comes
    back as it is.
    """
    if not isinstance(encoder, FOLDED):
        return encoder
    encoder = copy.deepcopy(encoder).eval()
    for module in list(encoder.modules()):
        layers = list(module.named_children())
        convolutions = [found for found in layers if isinstance(found[1], nn.Conv2d)]
        norms = [found for found in layers if isinstance(found[1], nn.BatchNorm2d)]
        for (place, convolution), (of_norm, norm) in zip(convolutions, norms, strict=True):
            setattr(module, place, fuse_conv_bn_eval(convolution, norm))
            # timm's BatchNorm has the activation in it.
            setattr(module, of_norm, getattr(norm, "act", nn.Identity()))
    return encoder.requires_grad_(False)
