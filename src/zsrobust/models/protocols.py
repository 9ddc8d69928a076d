"""How images become a tower's input, by name."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.utils.errors import RequestError

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Protocol:
    """How images in [0, 1] become a tower's input.

    Attributes:
        mean, std: per channel, in [0, 1] pixel units.
        antialias: low-pass before shrinking, as Pillow does.
        crop: scale the shorter side and crop the centre; else squash both sides.
        clamp: cut the bicubic kernel's overshoot back to [0, 1] after each of the two passes,
            as Pillow does on 8-bit pixels.
        interpolation: ``bicubic`` or ``bilinear``.
    """

    mean: Triple
    std: Triple
    antialias: bool
    crop: bool
    clamp: bool
    interpolation: str = "bicubic"


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PROTOCOLS = {
    # What CLIP was trained with: Pillow's bicubic on 8-bit pixels, hence antialias and clamp.
    "clip": Protocol(CLIP_MEAN, CLIP_STD, antialias=True, crop=True, clamp=True),
    # PMG-AFT's script: bicubic interpolation to a square without low-pass, and ImageNet's
    # statistics although the tower is CLIP's.
    "authors_code": Protocol(IMAGENET_MEAN, IMAGENET_STD, antialias=False, crop=False, clamp=False),
    # The scripts of TeCoA, TGA-ZSR and TTC: the same interpolation, and CLIP's statistics.
    "tecoa_code": Protocol(CLIP_MEAN, CLIP_STD, antialias=False, crop=False, clamp=False),
    # EfficientNet-Lite's published preprocessing, (x - 127) / 128 on 8-bit pixels.
    "efficientnet_lite": Protocol(
        (127 / 255,) * 3, (128 / 255,) * 3, antialias=True, crop=True, clamp=True
    ),
}

LOADER_RESIZES = {
    ("bicubic", True): "clip",
    ("bicubic", False): "squash",
    ("bilinear", True): "bilinear",
    ("bilinear", False): "bilinear_squash",
}
"""Interpolation, and whether the centre is cropped, to the loader's resize of the same kind."""


def protocol_named(name: str) -> Protocol:
    """The protocol called ``name``.

    Raises:
        RequestError: if there is none.
    """
    if name not in PROTOCOLS:
        raise RequestError(
            f"preprocessing {name!r} is unknown: choose one of {', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[name]
