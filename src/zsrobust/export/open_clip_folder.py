"""A folder that open_clip loads by ``local-dir:FOLDER``, and by ``hf-hub:`` once it is pushed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zsrobust.export.agreement import Theirs
from zsrobust.export.request import ExportRequest
from zsrobust.export.towers import require_open_clip
from zsrobust.models import hub
from zsrobust.models.clip import CLIPModel
from zsrobust.models.glyph_clip import tokens
from zsrobust.utils.errors import RequestError

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
HOW = """\
```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
```

Once pushed, `hf-hub:ORG/NAME` stands in the place of `local-dir:FOLDER`. Both are names that
`zsrobust evaluate --model` takes, too.
"""


def check(model: CLIPModel, request: ExportRequest) -> None:
    """Refuse what open_clip's format has no place for.

    Raises:
        RequestError: if the model is not open_clip's, or its tokenizer cannot be written.
    """
    from open_clip.tokenizer import SimpleTokenizer

    require_open_clip(model, "open_clip")
    tokenizer = model.text.tokenize  # type: ignore[attr-defined]
    if not isinstance(tokenizer, tokens.Tokenizer | SimpleTokenizer) and not hasattr(
        tokenizer, "save_pretrained"
    ):
        raise RequestError(
            f"{model.name} cannot be exported to open_clip: its tokenizer "
            f"({type(tokenizer).__name__}) cannot be written to files"
        )


def write(model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
    """Write configuration, weights and tokenizer; notes for card and terminal are returned."""
    text: Any = model.text
    config = json.loads(text.architecture)
    tensors = whole_state(model)
    if isinstance(text.tokenize, tokens.Tokenizer):
        config["text_cfg"]["vocab_size"] = len(text.tokenize.table)
    preprocess = {
        **{key: list(values) for key, values in model.preprocessing.statistics.items()},
        "interpolation": "bicubic",
        "resize_mode": "shortest" if model.preprocessing.settings.crop else "squash",
    }
    content = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    if hasattr(text.tokenize, "save_pretrained"):
        text.tokenize.save_pretrained(str(folder))
    if config["text_cfg"].get("hf_model_name"):
        return [
            "The text tower's settings are not in the folder: open_clip reads those of "
            f"{config['text_cfg']['hf_model_name']} from the hub or its cache."
        ]
    return []


def load(folder: Path, model: CLIPModel) -> Theirs:
    """The folder as open_clip's own loader gives it, transform and tokenizer included."""
    import open_clip

    name = f"local-dir:{folder}"
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with hub.cache_only():
            loaded, _, transform = open_clip.create_model_and_transforms(name)
            tokenizer = open_clip.get_tokenizer(name)
    finally:
        logging.disable(before)
    loaded.eval()
    return Theirs(
        images=lambda shown: loaded.encode_image(torch.stack([transform(one) for one in shown])),
        texts=lambda prompts: loaded.encode_text(tokenizer(prompts)),
        side=model.preprocessing.image_size,
    )


def whole_state(model: CLIPModel) -> dict[str, Tensor]:
    """Every tensor of the whole CLIP under open_clip's names: its text side, our image side.

    Of glyph-clip, whose text side has rows for few of CLIP's tokens, the rows are laid out for all
    of them, so that CLIP's own tokenizer serves it.
    """
    text: Any = model.text
    state = {**text.model.state_dict()}
    state |= {f"visual.{key}": tensor for key, tensor in model.encoder.state_dict().items()}
    if isinstance(text.tokenize, tokens.Tokenizer):
        state["token_embedding.weight"] = state["token_embedding.weight"][text.tokenize.table]
    scale = state["logit_scale"]
    if scale.exp().item() != model.logit_scale:
        state["logit_scale"] = torch.full_like(scale, model.logit_scale).log()
    # Clones, because safetensors takes neither tied nor strided tensors.
    return {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
