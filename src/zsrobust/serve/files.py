"""What a visitor takes away: attacked images, magnified changes, every number."""

from __future__ import annotations

import json
import re
from pathlib import Path

from PIL import Image
from torch import Tensor

from zsrobust.serve.comparison import Attacked, Comparison
from zsrobust.utils.plain_json import plain_json


def save_png(pixels: Tensor, path: Path) -> Path:
    """Write pixels (3, H, W) in [0, 1], rounded to 256 levels, and return ``path``."""
    levels = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(levels).save(path)
    return path


def magnified(one: Attacked, eps: float) -> Tensor:
    """The change (3, H, W) in [0, 1]: mid-grey is none, black and white are eps down and up."""
    if eps == 0:
        return one.clean * 0 + 0.5
    return 0.5 + (one.adversarial - one.clean) / (2 * eps)


def file_name(model: str) -> str:
    """A model's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")[-60:] or "model"


def write_files(compared: Comparison, folder: Path) -> tuple[list[Path], list[Path], Path]:
    """Write all of it into ``folder``.

    Returns:
        The attacked images and their changes, one a model in order, and the numbers.
    """
    images, changes = [], []
    for number, one in enumerate(compared.attacked, start=1):
        name = f"{number}-{file_name(one.on)}"
        images.append(save_png(one.adversarial, folder / f"attacked-{name}.png"))
        change = magnified(one, compared.settings.threat.eps)
        changes.append(save_png(change, folder / f"change-{name}.png"))
    numbers = folder / "comparison.json"
    told = json.loads(plain_json(compared.figures()))
    numbers.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return images, changes, numbers
