"""Load glyph-clip from the package's own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from zsrobust.models.clip import CLIPModel
from zsrobust.models.glyph_clip.architecture import CONFIG, build
from zsrobust.models.glyph_clip.tokens import Tokenizer, shipped_vocabulary
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.utils.errors import RequestError

WEIGHTS = Path(__file__).with_name("glyph_clip.safetensors")
TEMPLATES = ("a picture of a {}",)


def load(name: str) -> CLIPModel:
    """Load ``glyph-clip``: weights are kept in fp16 and computed with in fp32.

    Raises:
        RequestError: if ``name`` says more than ``glyph-clip``, or the weights are damaged.
    """
    if name != "glyph-clip":
        raise RequestError(f"model {name!r} is unknown: the embedded model is glyph-clip")
    vocabulary = shipped_vocabulary()
    model: Any = build(vocabulary)
    try:
        model.load_state_dict(load_file(WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as reason:
        raise RequestError(
            f"the weights of glyph-clip, {WEIGHTS}, are missing or damaged: install zsrobust again"
        ) from reason
    return assemble(model.float().eval(), Tokenizer(vocabulary))


def assemble(model: Any, tokenizer: Tokenizer) -> CLIPModel:
    """A model of ``architecture.build`` taken apart into image tower and text side."""
    visual = model.visual
    del model.visual
    return CLIPModel(
        name="glyph-clip",
        encoder=visual,
        text=OpenCLIPText(model, tokenizer, json.dumps(CONFIG, sort_keys=True)),
        preprocessing=Preprocessing("clip", CONFIG["vision_cfg"]["image_size"]),
        logit_scale=float(model.logit_scale.detach().exp()),
        default_templates=TEMPLATES,
    )
