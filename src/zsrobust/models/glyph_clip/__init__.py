"""``glyph-clip``: a small CLIP pre-trained on drawn glyphs, shipped with the package.

Its text tower has rows for those of CLIP's tokens only that the captions of its training use. Every
other token is read as one unknown token, which pre-training put in the place of a word at random,
so that the model ignores words that it does not know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.utils.errors import RequestError

VOCABULARY = Path(__file__).with_name("vocabulary.json")
WEIGHTS = Path(__file__).with_name("glyph_clip.safetensors")
TEMPLATES = ("a picture of a {}",)
CONTEXT_LENGTH = 18
TOWER = "visual."
"""Before the names of an image tower's weights."""

CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {"context_length": CONTEXT_LENGTH, "width": 128, "heads": 2, "layers": 2},
}
"""``model_cfg`` of open_clip but for ``vocab_size``, which the vocabulary decides.

The image tower is CLIP's ResNet, attention pooling included, with one block a stage and a quarter
of RN50's width: 1.4 M weights, 18 M multiply-adds an image. The glyphs' images of 32 x 32 are
enlarged to 64 x 64 inside the model, as CIFAR's are for CLIP, so attacks act on 32 x 32.
"""


def load(name: str) -> CLIPModel:
    """Load ``glyph-clip``: its weights are stored in fp16 and computed with in fp32.

    Raises:
        RequestError: if ``name`` says more than ``glyph-clip``, or the weights are damaged.
    """
    if name != "glyph-clip":
        raise RequestError(f"model {name!r} is unknown: the embedded model is glyph-clip")
    return load_with_tower(name, CONFIG, WEIGHTS)


def load_with_tower(name: str, config: dict[str, Any], tower: Path) -> CLIPModel:
    """The text side of ``glyph-clip`` with the image tower whose weights are in ``tower``.

    Args:
        name: of the model.
        config: as ``CONFIG``; its text side is that of ``CONFIG``.
        tower: a safetensors file whose names begin with ``visual.``; others are not read.

    Raises:
        RequestError: if a file is missing or damaged.
    """
    vocabulary = shipped_vocabulary()
    model = build(vocabulary, config)
    try:
        state = {k: v for k, v in load_file(WEIGHTS).items() if not k.startswith(TOWER)}
        state |= {k: v for k, v in load_file(tower).items() if k.startswith(TOWER)}
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as reason:
        files = " and ".join(str(file) for file in dict.fromkeys((WEIGHTS, tower)))
        raise RequestError(
            f"the weights of {name}, {files}, are missing or damaged: install zsrobust again"
        ) from reason
    return assemble(model.float().eval(), Tokenizer(vocabulary), name, config)


def assemble(
    model: Any, tokenizer: Tokenizer, name: str = "glyph-clip", config: dict[str, Any] = CONFIG
) -> CLIPModel:
    """A model of :func:`build` taken apart into image tower and text side."""
    visual = model.visual
    del model.visual
    return CLIPModel(
        name=name,
        encoder=visual,
        text=OpenCLIPText(model, tokenizer, json.dumps(config, sort_keys=True)),
        preprocessing=Preprocessing("clip", config["vision_cfg"]["image_size"]),
        logit_scale=float(model.logit_scale.detach().exp()),
        default_templates=TEMPLATES,
    )


def build(vocabulary: Vocabulary, config: dict[str, Any] = CONFIG) -> nn.Module:
    """The model with random weights."""
    from open_clip import CLIP

    text = {**config["text_cfg"], "vocab_size": vocabulary.size}
    model: nn.Module = CLIP(config["embed_dim"], config["vision_cfg"], text)
    return model


@dataclass(frozen=True)
class Vocabulary:
    """Which of CLIP's token ids have a row; row 0 is padding.

    Attributes:
        token_ids: CLIP's ids with a row of their own, ascending: the first has row 1.
    """

    token_ids: tuple[int, ...]

    @property
    def size(self) -> int:
        """Rows in all: padding, ``token_ids``, unknown, start and end, in this order."""
        return len(self.token_ids) + 4

    @property
    def unknown(self) -> int:
        """The row of every token without one."""
        return len(self.token_ids) + 1

    def rows(self) -> Tensor:
        """From CLIP's id to row, (49408,)."""
        tokenizer = clip_tokenizer()
        table = torch.full((tokenizer.vocab_size,), self.unknown)
        table[list(self.token_ids)] = torch.arange(1, len(self.token_ids) + 1)
        # The text tower reads its output where the highest row is: at the end.
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
    return Vocabulary(tuple(json.loads(VOCABULARY.read_text("utf-8"))))
