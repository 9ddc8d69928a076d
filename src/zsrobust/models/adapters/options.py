"""An adapter as a run asks for it: a kind, and the options of that kind."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from zsrobust.models.adapters.base import AdapterKind
from zsrobust.models.adapters.registry import ADAPTERS
from zsrobust.utils.validation import check_types, require


@dataclass(frozen=True)
class Adapter:
    """What of the image encoder is trained.

    An option that is left out has its kind's default.

    Attributes:
        kind: full (all of it), blocks (its end), layer_norm, lora (low-rank changes),
            prompt_padding (a frame on the images) or prompt_tokens (beside a ViT's patches).
        blocks: of kind blocks, how many of the last blocks; 1.
        rank: of kind lora; 8.
        alpha: of kind lora, the scale of the change; 8.
        width: of the frame in pixels; of kind prompt_padding 30, of prompt_tokens 0 for none.
        tokens: of kind prompt_tokens, how many; 10.

    Raises:
        RequestError: if an option is out of range, or not one of the kind.
    """

    kind: Literal["full", "blocks", "layer_norm", "lora", "prompt_padding", "prompt_tokens"] = (
        "full"
    )
    blocks: int | None = None
    rank: int | None = None
    alpha: float | None = None
    width: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        check_types(self, "adapter.")
        for key, value in self.options.items():
            allowed = f"left out, or null: adapter.kind {self.kind} has no such option"
            require(key in self._defaults, f"adapter.{key}", value, allowed)
        # Filled in, so that a recorded run says what it was run with.
        for key, value in vars(self.made).items():
            object.__setattr__(self, key, value)

    @property
    def options(self) -> dict[str, Any]:
        """The options that have a value, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def made(self) -> AdapterKind:
        """What does it."""
        return ADAPTERS[self.kind](**self.options)

    @property
    def _defaults(self) -> set[str]:
        kind: Any = ADAPTERS[self.kind]
        return {field.name for field in fields(kind)}
