"""The tensors of a whole CLIP under open_clip's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zsrobust.utils.lazy import Tensor, torch

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


def whole_state(model: CLIPModel) -> dict[str, Tensor]:
    """Every tensor of the whole CLIP under open_clip's names: its text side, our image side.

    Of glyph-clip, whose text side has rows for few of CLIP's tokens, the rows are laid out for all
    of them, so that CLIP's own tokenizer serves it.
    """
    from zsrobust.models import glyph_clip

    text: Any = model.text
    state = {**text.model.state_dict()}
    state |= {f"visual.{key}": tensor for key, tensor in model.encoder.state_dict().items()}
    if isinstance(text.tokenize, glyph_clip.Tokenizer):
        state["token_embedding.weight"] = state["token_embedding.weight"][text.tokenize.table]
    scale = state["logit_scale"]
    if scale.exp().item() != model.logit_scale:
        state["logit_scale"] = torch.full_like(scale, model.logit_scale).log()
    # Clones, because safetensors takes neither tied nor strided tensors.
    return {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
