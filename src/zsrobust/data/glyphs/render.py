"""Scenes to pixels: masks are turned, placed and drawn in their style on paper, then noised."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from zsrobust.data.glyphs.draws import stream, uniform
from zsrobust.data.glyphs.masks import bank
from zsrobust.data.glyphs.palette import PAPERS, STYLES
from zsrobust.data.glyphs.scenes import Scenes, shades

SIDE = 32
"""Side of an image in pixels."""

_NOISE = stream("glyphs", "noise")


def render(scenes: Scenes, fonts: tuple[str, ...], keys: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The images (N, SIDE, SIDE, 3) of scenes drawn from the bank of ``fonts``.

    ``keys`` (N,) decide the noise of each pixel.
    """
    with torch.no_grad():
        free = torch.from_numpy(scenes.free)
        ink = _ink(scenes, torch.from_numpy(bank(fonts).masks), free)
        thing = torch.from_numpy(shades(scenes.colour, scenes.free[:, 0:3]))
        ground = torch.from_numpy(shades(scenes.ground, scenes.free[:, 3:6]))
        style = torch.from_numpy(scenes.style)
        images = _paper(ground, torch.from_numpy(scenes.paper), free)
        images = _shadow(images, ink, style)
        ink, paint = _drawn(ink, thing, style, free)
        images = images * (1 - ink) + paint * ink
        amplitude = (2 + 8 * free[:, 6]) / 255
        noise = torch.from_numpy(uniform(_NOISE, keys, 3 * SIDE * SIDE)).view(-1, 3, SIDE, SIDE)
        images = images + (2 * noise - 1) * amplitude[:, None, None, None]
        levels = images.mul(255).round().clamp(0, 255).to(torch.uint8)
        pixels: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().numpy()
        return pixels


def _ink(scenes: Scenes, masks: Tensor, free: Tensor) -> Tensor:
    """How much of each pixel the things cover, (N, 1, SIDE, SIDE) in [0, 1]."""
    full = masks[torch.from_numpy(scenes.mask)].float().div(255)[:, None]
    large = torch.from_numpy(scenes.large)
    count = torch.from_numpy(scenes.count)
    cells = torch.from_numpy(scenes.cells)
    ink = torch.zeros(len(scenes), 1, SIDE, SIDE)

    if large.any():
        one = large.nonzero()[:, 0]
        reach = 0.62 + 0.33 * free[one, 7]
        room = (1 - reach)[:, None]
        ink[one] = _placed(full[one], reach, room * (2 * free[one, 8:10] - 1), free[one, 10:13])

    # A small thing is sampled from a smaller mask: one pixel of it, or less, for one of the image.
    half = F.avg_pool2d(full, 2)
    for copy in range(int(count[~large].max()) if (~large).any() else 0):
        some = (~large & (count > copy)).nonzero()[:, 0]
        jitter = free[some, 13 + 2 * copy : 15 + 2 * copy]
        cell = cells[some, copy]
        centre = torch.stack([(cell % 3) - 1, cell // 3 - 1], dim=1) * 0.64
        reach = 0.25 + 0.07 * free[some, 7]
        middle = centre + 0.06 * (2 * jitter - 1)
        copies = _placed(half[some], reach, middle, free[some, 10:13])
        ink[some] = torch.maximum(ink[some], copies)
    return ink


def _placed(masks: Tensor, reach: Tensor, middle: Tensor, free: Tensor) -> Tensor:
    """Masks turned by up to 12 degrees, stretched by up to 12 %, ``reach`` of the image's side."""
    angle = (2 * free[:, 0] - 1) * (12 * torch.pi / 180)
    wide = reach * (1 + 0.12 * (2 * free[:, 1] - 1))
    high = reach * (1 + 0.12 * (2 * free[:, 2] - 1))
    cos, sin = angle.cos(), angle.sin()
    # From image to mask: undo the shift, then the turn, then the size.
    rows = torch.stack(
        [
            torch.stack([cos / wide, sin / wide], dim=1),
            torch.stack([-sin / high, cos / high], dim=1),
        ],
        dim=1,
    )
    shift = -(rows @ middle[:, :, None])
    grid = F.affine_grid(
        torch.cat([rows, shift], dim=2), [len(masks), 1, SIDE, SIDE], align_corners=False
    )
    return F.grid_sample(masks, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _axes() -> tuple[Tensor, Tensor]:
    steps = torch.arange(SIDE, dtype=torch.float32)
    return steps[None, :].expand(SIDE, SIDE), steps[:, None].expand(SIDE, SIDE)


def _paper(ground: Tensor, paper: Tensor, free: Tensor) -> Tensor:
    """What lies behind, (N, 3, SIDE, SIDE): the ground, in part lighter or darker."""
    x, y = _axes()
    phase = free[:, 25, None, None] * 8
    period = (4 + 4 * free[:, 26])[:, None, None]

    def wave(along: Tensor) -> Tensor:
        return (((along + phase) / period) % 1.0 < 0.5).float()

    across, down = wave(x), wave(y)
    round_x, round_y = ((x + phase) / period) % 1.0 - 0.5, ((y + phase) / period) % 1.0 - 0.5
    turn = free[:, 27, None, None] * (2 * torch.pi)
    slope = ((x - SIDE / 2) * turn.cos() + (y - SIDE / 2) * turn.sin()) / SIDE
    speckle = torch.from_numpy(
        uniform(_NOISE, (free[:, 28] * 2**24).long().numpy(), SIDE * SIDE)
    ).view(-1, SIDE, SIDE)
    patterns = {
        "plain paper": torch.zeros_like(across),
        "horizontal stripes": down,
        "vertical stripes": across,
        "diagonal stripes": wave((x + y) / 1.4142),
        "checks": (across - down).abs(),
        "dots": (round_x**2 + round_y**2 < 0.1).float(),
        "speckles": (speckle < 0.25).float(),
        "a gradient": (slope + 0.5).clamp(0, 1) * 1.6,
    }
    pattern = torch.zeros(len(ground), SIDE, SIDE)
    for number, name in enumerate(PAPERS):
        pattern = torch.where((paper == number)[:, None, None], patterns[name], pattern)
    # A light ground gets darker marks, a dark one lighter.
    light = ground.mean(1) > 0.5
    depth = (0.1 + 0.12 * free[:, 29]) * torch.where(light, -1.0, 1.0)
    return ground[:, :, None, None] + (pattern * depth[:, None, None])[:, None]


def _shadow(images: Tensor, ink: Tensor, style: Tensor) -> Tensor:
    """Images with the shadow of what is drawn shadowed: two pixels right and down, dark."""
    cast = F.pad(ink, (2, 0, 2, 0))[:, :, :SIDE, :SIDE] * 0.5
    cast = cast * (style == STYLES.index("shadowed"))[:, None, None, None]
    return images * (1 - cast)


def _drawn(ink: Tensor, thing: Tensor, style: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """What is covered (N, 1, SIDE, SIDE), and with which paint (N, 3, SIDE, SIDE), by style."""
    x, y = _axes()
    paint = thing[:, :, None, None].expand(-1, -1, SIDE, SIDE)
    grown = F.max_pool2d(ink, 3, 1, 1)
    outline = (grown - 0.9 * ink).clamp(0, 1)
    hatch = (((x - y) % 4) < 2).float()
    screen = ((x % 3 < 2) & (y % 3 < 2)).float()
    disc = ((x - 15.5) ** 2 + (y - 15.5) ** 2 < 15.5**2).float()
    blocky = F.interpolate(F.avg_pool2d(ink, 2), scale_factor=2.0)
    covered = {
        "outlined": outline,
        "hatched": ink * (0.25 + 0.75 * hatch),
        "dotted": ink * (0.15 + 0.85 * screen),
        "cut out": (disc - ink).clamp(0, 1),
        "blocky": (blocky > 0.45).float(),
    }
    drawn = ink
    for number, name in enumerate(STYLES):
        if name in covered:
            drawn = torch.where((style == number)[:, None, None, None], covered[name], drawn)
    turn = free[:, 30, None, None] * (2 * torch.pi)
    slope = ((x - SIDE / 2) * turn.cos() + (y - SIDE / 2) * turn.sin()) / SIDE
    dimmed = paint * (1 - 0.35 * (slope + 0.5).clamp(0, 1))[:, None]
    shaded = (style == STYLES.index("shaded"))[:, None, None, None]
    return drawn, torch.where(shaded, dimmed, paint)
