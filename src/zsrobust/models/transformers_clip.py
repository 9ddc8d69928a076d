"""Models of transformers: ``transformers:FOLDER`` and ``transformers:ORG/NAME``.

Its CLIP is built as open_clip's is, so the weights move into open_clip's modules, which every
adapter, method and export here knows. Embeddings are the same up to rounding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from zsrobust.models import hub
from zsrobust.models.clip import CLIPModel
from zsrobust.models.names import TRANSFORMERS, require_clip, transformers_folder
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.protocols import CLIP_MEAN, CLIP_STD, LOADER_RESIZES
from zsrobust.models.transformers_weights import to_open_clip
from zsrobust.utils.errors import RequestError
from zsrobust.utils.progress import Steps

SETTINGS = ("*.json", "*.txt")
# In the order of preference; a repository may hold both.
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# Before transformers 4.31 configurations said 2, and the highest token was taken for the end.
LEGACY_END = 2
# What a folder with a tokenizer or an image processor has.
BESIDES = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "preprocessor_config.json")
CLIP_TOKENS = 49408
CLIP_PIXELS = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "crop": True}
# By the numbers of Pillow's filters.
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}


def load_transformers(name: str) -> CLIPModel:
    """Load a CLIP that ``CLIPModel.save_pretrained`` wrote, with its tokenizer and image processor.

    The processor's mean, standard deviation, interpolation and crop are used.
    Weights without tokenizer and processor get CLIP's, if they have CLIP's vocabulary.

    Raises:
        RequestError: if transformers is not installed, the folder or repository cannot be had, is
            of another model type, incomplete or damaged, or has what open_clip cannot compute.
    """
    from transformers import CLIPModel as TheirModel

    local = transformers_folder(name)
    folder = local or _download(name)
    require_clip(name, folder / "config.json")
    with quieted(f"{name} cannot be loaded"):
        loader: Any = TheirModel.from_pretrained
        theirs, notes = loader(folder, local_files_only=True, output_loading_info=True)
    if missing := sorted(notes["missing_keys"]):
        raise RequestError(
            f"{name} is not a whole CLIP: {len(missing)} tensors are missing, such as {missing[0]}"
        )
    tokenize, pixels = _text_and_image_settings(name, folder, theirs.config.text_config)
    config = _open_clip_config(name, theirs.config)
    if isinstance(tokenize, TransformersTokenizer) and not tokenize.is_clips:
        # It lies in the folder of an export, where open_clip looks for it.
        place = local.resolve().name if local else name.removeprefix(TRANSFORMERS)
        config["text_cfg"]["hf_tokenizer_name"] = place
    return _assemble(name, theirs, config, tokenize, pixels, local)


def _assemble(
    name: str,
    theirs: Any,
    config: dict[str, Any],
    tokenize: Any,
    pixels: dict[str, Any],
    local: Path | None,
) -> CLIPModel:
    from open_clip import CLIP

    layers = config["vision_cfg"]["layers"], config["text_cfg"]["layers"]
    model: Any = CLIP(**config)
    model.load_state_dict(to_open_clip(theirs.float().state_dict(), layers))
    visual = model.eval().visual
    del model.visual
    return CLIPModel(
        name=name,
        encoder=visual,
        text=OpenCLIPText(model, tokenize, json.dumps(config, sort_keys=True)),
        preprocessing=Preprocessing("clip", config["vision_cfg"]["image_size"], **pixels),
        logit_scale=model.logit_scale.exp().item(),
        loader_resize=LOADER_RESIZES[pixels["interpolation"], pixels["crop"]],
        # Where it lies must not depend on where the next command is started.
        source=f"{TRANSFORMERS}{local.resolve()}" if local else name,
    )


def _text_and_image_settings(name: str, folder: Path, text: Any) -> tuple[Any, dict[str, Any]]:
    """Tokenizer and settings of ``Preprocessing``: the folder's own, CLIP's where it has neither.

    Fine-tuned CLIPs are often published as weights alone. CLIP's tokenizer is taken for a text side
    of CLIP's vocabulary only.

    Raises:
        RequestError: if one of them is missing or damaged.
    """
    from open_clip import SimpleTokenizer
    from transformers import AutoTokenizer, CLIPImageProcessor

    context = text.max_position_embeddings
    if text.vocab_size == CLIP_TOKENS and not any((folder / file).exists() for file in BESIDES):
        Steps("", 1).say(f"{name} has no tokenizer and no image processor: CLIP's are used")
        return SimpleTokenizer(context_length=context), dict(CLIP_PIXELS)
    with quieted(
        f"{name} lacks its tokenizer or image processor, which CLIPProcessor.save_pretrained writes"
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # Without a file transformers makes one of three tokens.
        files = sorted(set(tokenizer.vocab_files_names.values()))
        if not any((folder / file).is_file() for file in files):
            raise FileNotFoundError(f"there is none of {', '.join(files)}")
        processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    if len(tokenizer) > text.vocab_size:
        raise RequestError(
            f"{name}: its tokenizer has {len(tokenizer)} tokens, and its text side "
            f"{text.vocab_size}: save the model's own tokenizer there"
        )
    tokenize = TransformersTokenizer(tokenizer, context, _special_tokens(text))
    statistics = {"mean": tuple(processor.image_mean), "std": tuple(processor.image_std)}
    return tokenize, {**CLIP_PIXELS, **statistics, **_resize(name, processor)}


def _resize(name: str, processor: Any) -> dict[str, Any]:
    """Interpolation, and whether the centre is cropped, of an image processor."""
    interpolation = INTERPOLATIONS.get(processor.resample)
    size = {key for key, value in dict(processor.size).items() if value}
    if interpolation is None or size not in ({"shortest_edge"}, {"height", "width"}):
        Steps("", 1).say(
            f"{name} resizes to {' and '.join(sorted(size))} with Pillow's filter "
            f"{processor.resample}, which is not available here: CLIP's bicubic resize and centre "
            "crop are used"
        )
        return {}
    return {"interpolation": interpolation, "crop": size == {"shortest_edge"}}


class TransformersTokenizer:
    """Prompts to token ids by a tokenizer of transformers.

    Args:
        tokenizer: of transformers.
        context_length: tokens of a prompt, start and end included.
        special_tokens: ids of start, end and padding as the model's configuration has them.
    """

    def __init__(
        self, tokenizer: Any, context_length: int, special_tokens: dict[str, int | None]
    ) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.special_tokens = special_tokens

    @property
    def is_clips(self) -> bool:
        """Whether the vocabulary is that of OpenAI's CLIP, which comes with open_clip too."""
        from open_clip import SimpleTokenizer

        original = SimpleTokenizer()
        special = {original.sot_token_id, original.eot_token_id}
        words = {(word, at) for word, at in original.encoder.items() if at not in special}
        return bool(self.tokenizer.get_vocab().items() >= words)

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Token ids (N, context length), int64; longer prompts are cut, shorter ones padded."""
        ids: Tensor = self.tokenizer(
            texts,
            max_length=context_length or self.context_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return ids

    def save_pretrained(self, folder: str) -> None:
        """Write its files."""
        self.tokenizer.save_pretrained(folder)


def _download(name: str) -> Path:
    """The folder of a repository on the hub, in the hub's own cache."""
    from huggingface_hub import hf_hub_download, snapshot_download

    repository = name.removeprefix(TRANSFORMERS)
    what = f"the files of {name}"
    config = hub.fetch(lambda: hf_hub_download(repository, "config.json"), what, repository)
    # Before gigabytes of another kind of model come.
    require_clip(name, Path(config))

    def whole() -> Path:
        for weights in WEIGHTS:
            found = Path(snapshot_download(repository, allow_patterns=[*SETTINGS, weights]))
            if any(found.glob(weights)):
                return found
        raise FileNotFoundError(f"neither of {' and '.join(WEIGHTS)} is there")

    return hub.fetch(whole, what, repository)


def _open_clip_config(name: str, config: Any) -> dict[str, Any]:
    """open_clip's description of the same model.

    Raises:
        RequestError: if open_clip has no such model.
    """
    vision, text = config.vision_config, config.text_config
    activations = {vision.hidden_act, text.hidden_act}
    refused = [
        (
            activations not in ({"gelu"}, {"quick_gelu"}),
            f"{' and '.join(sorted(activations))} for activations, not gelu or quick_gelu",
        ),
        (not isinstance(vision.image_size, int), "images that are not square"),
        (not isinstance(vision.patch_size, int), "patches that are not square"),
        (vision.num_channels != 3, f"images of {vision.num_channels} channels"),
    ]
    for wrong, what in refused:
        if wrong:
            raise RequestError(f"{name} has {what}, which is not supported: choose another model")
    highest = text.eos_token_id in (LEGACY_END, text.vocab_size - 1)
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": activations == {"quick_gelu"},
        "vision_cfg": {
            **_tower(vision),
            "head_width": vision.hidden_size // vision.num_attention_heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
        },
        "text_cfg": {
            **_tower(text),
            "heads": text.num_attention_heads,
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            **({} if highest else {"pool_type": "eos", "eos_id": text.eos_token_id}),
        },
    }


def _tower(side: Any) -> dict[str, Any]:
    width, inner = side.hidden_size, side.intermediate_size
    ratio = inner / width
    if int(width * ratio) != inner:
        ratio = math.nextafter(ratio, math.inf)
    return {
        "width": width,
        "layers": side.num_hidden_layers,
        "mlp_ratio": ratio,
        "norm_kwargs": {"eps": side.layer_norm_eps},
    }


def _special_tokens(text: Any) -> dict[str, int | None]:
    return {key: getattr(text, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}


@contextmanager
def quieted(refusal: str) -> Iterator[None]:
    """Without transformers' notes and bars; its errors in one sentence that begins ``refusal``.

    Raises:
        RequestError: if the block fails.
    """
    from transformers.utils import logging

    progress: Any = logging
    level = progress.get_verbosity()
    progress.set_verbosity_error()
    progress.disable_progress_bar()
    try:
        yield
    # Each version, safetensors and tokenizers raise other classes.
    except Exception as reason:
        details = " ".join(str(reason).split())[:300]
        raise RequestError(f"{refusal}: {details}") from reason
    finally:
        progress.set_verbosity(level)
        progress.enable_progress_bar()
