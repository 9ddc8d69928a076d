"""The tensors of a CLIP under open_clip's names, and under those of transformers' ``CLIPModel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zsrobust.export.openai_clip import OpenAICLIP
from zsrobust.utils.lazy import Tensor, torch

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel

# Names of a block, from theirs in open_clip; attention's input projection is one matrix there.
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
VISION = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    # Spelled so in transformers.
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
}
TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
}


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


def transformers_state(model: CLIPModel, clip: OpenAICLIP) -> dict[str, Tensor]:
    """The whole CLIP's state dict for transformers' ``CLIPModel``, every tensor of ours in it."""
    ours = whole_state(model)
    theirs = {"logit_scale": ours.pop("logit_scale").reshape(())}
    # A projection multiplies from the right in open_clip, and is a Linear's weight there.
    theirs["visual_projection.weight"] = ours.pop("visual.proj").T.contiguous()
    theirs["text_projection.weight"] = ours.pop("text_projection").T.contiguous()
    # The same for every class, so it changes no answer.
    ours.pop("logit_bias", None)
    for old, new in (VISION | TEXT).items():
        for key in [key for key in ours if key == old or key.startswith(f"{old}.")]:
            theirs[new + key.removeprefix(old)] = ours.pop(key)
    for prefix, side, layers in (
        ("visual.", "vision_model", clip.vision.config["num_hidden_layers"]),
        ("", "text_model", clip.text.config["num_hidden_layers"]),
    ):
        for layer in range(layers):
            block = f"{prefix}transformer.resblocks.{layer}."
            theirs |= _block(ours, block, f"{side}.encoder.layers.{layer}.")
    assert not ours, f"tensors without a place: {list(ours)}"
    return theirs


def _block(ours: dict[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    """One block's tensors, taken out of ``ours``."""
    theirs: dict[str, Any] = {}
    for kind in ("weight", "bias"):
        parts = ours.pop(f"{old}attn.in_proj_{kind}").chunk(3)
        for name, part in zip("qkv", parts, strict=True):
            theirs[f"{new}self_attn.{name}_proj.{kind}"] = part.contiguous()
        for before, after in BLOCK.items():
            theirs[f"{new}{after}.{kind}"] = ours.pop(f"{old}{before}.{kind}")
    return theirs
