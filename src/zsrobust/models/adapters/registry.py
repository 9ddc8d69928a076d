"""Adapter kinds, as written in recipes."""

from __future__ import annotations

from zsrobust.models.adapters.base import AdapterKind
from zsrobust.models.adapters.blocks import Blocks
from zsrobust.models.adapters.full import Full
from zsrobust.models.adapters.layer_norm import LayerNorm
from zsrobust.models.adapters.lora import LoRA
from zsrobust.models.adapters.prompt_padding import PromptPadding
from zsrobust.models.adapters.prompt_tokens import PromptTokens

ADAPTERS: dict[str, type[AdapterKind]] = {
    "full": Full,
    "blocks": Blocks,
    "layer_norm": LayerNorm,
    "lora": LoRA,
    "prompt_padding": PromptPadding,
    "prompt_tokens": PromptTokens,
}
