"""glyph-clip's words: CLIP's tokens, but rows for those only that the glyph world's captions use.

Every other token is read as one and the same unknown token, which pre-training put in the place of
a word now and then: what it does not know it passes over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

CONTEXT_LENGTH = 18
_FILE = Path(__file__).with_name("vocabulary.json")


@dataclass(frozen=True)
class Vocabulary:
    """Which of CLIP's token ids have a row; row 0 is padding.

    Attributes:
        kept: CLIP's ids with a row of their own, ascending: the first has row 1.
    """

    kept: tuple[int, ...]

    @property
    def size(self) -> int:
        """Rows in all: padding, those kept, unknown, start and end, in this order."""
        return len(self.kept) + 4

    @property
    def unknown(self) -> int:
        """The row of every token without one."""
        return len(self.kept) + 1

    def rows(self) -> Tensor:
        """From CLIP's id to row, (49408,)."""
        tokenizer = clip_tokenizer()
        table = torch.full((tokenizer.vocab_size,), self.unknown)
        table[list(self.kept)] = torch.arange(1, len(self.kept) + 1)
        # The text tower reads its output where the highest row stands: at the end.
        table[tokenizer.sot_token_id] = self.size - 2
        table[tokenizer.eot_token_id] = self.size - 1
        table[0] = 0
        return table


class Tokenizer:
    """Prompts to rows, (N, ``context_length``), int64."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.table = vocabulary.rows()
        self.unk_token_id = vocabulary.unknown

    def __call__(self, texts: list[str], context_length: int = CONTEXT_LENGTH) -> Tensor:
        """Tokenise as CLIP does, longer prompts cut, then look rows up."""
        return self.table[clip_tokenizer()(texts, context_length=context_length)]


@cache
def clip_tokenizer() -> Any:
    """CLIP's byte-pair tokenizer, which comes with open_clip."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def shipped_vocabulary() -> Vocabulary:
    """The vocabulary of the shipped weights."""
    return Vocabulary(tuple(json.loads(_FILE.read_text("utf-8"))))
