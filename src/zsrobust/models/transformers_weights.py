"""The tensors of a CLIP under open_clip's names, and under those of transformers' ``CLIPModel``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from zsrobust.utils.lazy import Tensor, torch

# Names of a block, from ours to theirs; attention's input projection is one matrix in open_clip.
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
NORMS = {
    # Spelled so in transformers.
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "ln_final": "text_model.final_layer_norm",
}
OTHERS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
}
# These multiply from the right in open_clip, and are a Linear's weight in transformers.
PROJECTIONS = {
    "visual.proj": "visual_projection.weight",
    "text_projection": "text_projection.weight",
}


def to_transformers(ours: Mapping[str, Tensor], layers: tuple[int, int]) -> dict[str, Tensor]:
    """open_clip's tensors under transformers' names; ``layers`` of the image side, of the text's.

    A logit bias has no place there, and is the same for every class.
    """
    theirs = {"logit_scale": ours["logit_scale"].reshape(())}
    theirs |= {new: ours[old].T.contiguous() for old, new in PROJECTIONS.items()}
    for old, parts in _names(layers):
        chunks = ours[old].chunk(len(parts))
        theirs |= {new: chunk.contiguous() for new, chunk in zip(parts, chunks, strict=True)}
    return theirs


def to_open_clip(theirs: Mapping[str, Tensor], layers: tuple[int, int]) -> dict[str, Tensor]:
    """transformers' tensors under open_clip's names; ``layers`` as above."""
    ours = {"logit_scale": theirs["logit_scale"].reshape(())}
    ours |= {old: theirs[new].T.contiguous() for old, new in PROJECTIONS.items()}
    return ours | {old: torch.cat([theirs[new] for new in parts]) for old, parts in _names(layers)}


def _names(layers: tuple[int, int]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each name of ours, and that of theirs, or those of the parts that ours is made of."""
    yield from ((old, (new,)) for old, new in OTHERS.items())
    modules = dict(NORMS)
    for side, own, count in zip(
        ("vision_model", "text_model"), ("visual.transformer", "transformer"), layers, strict=True
    ):
        for layer in range(count):
            ours, theirs = f"{own}.resblocks.{layer}", f"{side}.encoder.layers.{layer}"
            modules |= {f"{ours}.{old}": f"{theirs}.{new}" for old, new in BLOCK.items()}
            for kind in ("weight", "bias"):
                parts = tuple(f"{theirs}.self_attn.{part}_proj.{kind}" for part in "qkv")
                yield f"{ours}.attn.in_proj_{kind}", parts
    for old, new in modules.items():
        yield from ((f"{old}.{kind}", (f"{new}.{kind}",)) for kind in ("weight", "bias"))
