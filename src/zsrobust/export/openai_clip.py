"""A CLIP built as OpenAI built its ViTs, taken apart; every other one is refused.

That is what transformers' ``CLIPModel`` can express: two transformers of pre-norm blocks with
LayerNorm, multi-head attention and a two-layer MLP, a class token, a causal text side that is read
at the end token, and linear projections without bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zsrobust.export.checks import require_open_clip
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import nn

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel

CLIP_VOCABULARY = 49408


@dataclass(frozen=True)
class Tower:
    """One side.

    Attributes:
        config: what ``CLIPVisionConfig`` and ``CLIPTextConfig`` have in common.
        output: dimension of the embeddings.
    """

    config: dict[str, Any]
    output: int


@dataclass(frozen=True)
class OpenAICLIP:
    """Both sides.

    Attributes:
        vision, text: the transformers.
        patch_size: in pixels.
        context_length: tokens of a prompt, start and end included.
        vocab_size: tokens there are.
        special_tokens: ids of start, end and padding, under transformers' names.
    """

    vision: Tower
    text: Tower
    patch_size: int
    context_length: int
    vocab_size: int
    special_tokens: dict[str, int | None]


def openai_clip(model: CLIPModel, wanted: str) -> OpenAICLIP:
    """``model`` taken apart.

    Raises:
        RequestError: with the first thing that is built otherwise; ``wanted`` names the format.
    """
    whole = require_open_clip(model, wanted)
    visual: Any = model.encoder
    for reason in (*_vision_mismatches(visual), *_text_mismatches(whole, model)):
        raise RequestError(
            f"{model.name} cannot be exported to {wanted}, whose CLIP is built as OpenAI's ViTs "
            f"are: {reason}; --to open_clip takes it"
        )
    return OpenAICLIP(
        vision=Tower(_config(visual.transformer, visual.ln_post), visual.proj.shape[1]),
        text=Tower(_config(whole.transformer, whole.ln_final), whole.text_projection.shape[1]),
        patch_size=visual.patch_size[0],
        context_length=whole.context_length,
        vocab_size=whole.vocab_size,
        special_tokens=_special_tokens(model),
    )


def _special_tokens(model: CLIPModel) -> dict[str, int | None]:
    from zsrobust.models.transformers_clip import TransformersTokenizer

    tokenizer: Any = model.text.tokenize  # type: ignore[attr-defined]
    if isinstance(tokenizer, TransformersTokenizer):
        return tokenizer.special_tokens
    # The last two of CLIP's vocabulary; the text's embedding is read at the end's.
    end = CLIP_VOCABULARY - 1
    return {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}


def _vision_mismatches(visual: Any) -> Iterator[str]:
    from open_clip.transformer import VisionTransformer

    if type(visual) is not VisionTransformer:
        yield f"its image tower is a {type(visual).__name__}"
        return
    if visual.attn_pool is not None or visual.pool_type != "tok":
        yield "its image tower does not take the class token alone"
    if not isinstance(visual.ln_pre, nn.LayerNorm):
        yield "its image tower has no norm before the blocks"
    if visual.patch_size[0] != visual.patch_size[1]:
        yield "its patches are not square"
    if visual.proj is None:
        yield "its image tower has no projection"
    yield from (f"its image tower {found}" for found in _block_mismatches(visual.transformer))


def _text_mismatches(whole: Any, model: CLIPModel) -> Iterator[str]:
    from open_clip import CLIP, SimpleTokenizer

    from zsrobust.models.transformers_clip import TransformersTokenizer

    if type(whole) is not CLIP:
        yield f"its text side is that of a {type(whole).__name__}"
        return
    tokenizer: Any = model.text.tokenize  # type: ignore[attr-defined]
    own = isinstance(tokenizer, TransformersTokenizer)
    of_clip = type(tokenizer) is SimpleTokenizer and whole.vocab_size == CLIP_VOCABULARY
    if not of_clip and not own:
        yield "its tokenizer is not CLIP's"
    if (
        whole.text_pool_type not in (("argmax", "eos") if own else ("argmax",))
        or whole.attn_mask is None
    ):
        yield "its text side is not causal and read at the end token"
    if not isinstance(whole.text_projection, nn.Parameter):
        yield "its text projection is not one matrix"
    yield from (f"its text side {found}" for found in _block_mismatches(whole.transformer))


def _block_mismatches(transformer: Any) -> Iterator[str]:
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock

    for block in transformer.resblocks:
        kinds = type(block), type(getattr(block, "attn", None))
        if kinds != (ResidualAttentionBlock, nn.MultiheadAttention):
            yield f"has blocks of another kind ({type(block).__name__})"
        elif not isinstance(block.ls_1, nn.Identity) or not isinstance(block.ls_2, nn.Identity):
            yield "scales its layers' outputs"
        elif type(block.mlp.gelu) not in (nn.GELU, QuickGELU) or _approximate(block.mlp.gelu):
            yield f"has another activation ({block.mlp.gelu})"


def _approximate(activation: Any) -> bool:
    return getattr(activation, "approximate", "none") != "none"


def _config(transformer: Any, norm: Any) -> dict[str, Any]:
    from open_clip.transformer import QuickGELU

    block = transformer.resblocks[0]
    return {
        "hidden_size": transformer.width,
        "intermediate_size": block.mlp.c_fc.out_features,
        "num_hidden_layers": len(transformer.resblocks),
        "num_attention_heads": block.attn.num_heads,
        "hidden_act": "quick_gelu" if type(block.mlp.gelu) is QuickGELU else "gelu",
        "layer_norm_eps": norm.eps,
    }
