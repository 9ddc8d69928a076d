"""A folder that transformers loads as ``CLIPModel``, or its vision tower alone, as LLaVA does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.export.format import Format, Loaded, export_format
from zsrobust.export.openai_clip import OpenAICLIP, openai_clip
from zsrobust.export.request import ExportRequest
from zsrobust.export.weights import whole_state
from zsrobust.models.transformers_weights import to_transformers
from zsrobust.utils.extras import require_installed

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


REFUSES = "transformers refuses the model"
START, END = "<|startoftext|>", "<|endoftext|>"


@export_format("transformers")
class TransformersFolder(Format):
    """transformers' configuration, weights, image processor and tokenizer in a folder."""

    what = "a folder of transformers' CLIPModel, whose vision tower LLaVA takes"
    library = "transformers"
    how = """\
```python
from transformers import CLIPModel, CLIPProcessor, CLIPVisionModel, CLIPVisionModelWithProjection

model = CLIPModel.from_pretrained("FOLDER")  # or ORG/NAME, once pushed
processor = CLIPProcessor.from_pretrained("FOLDER")
tower = CLIPVisionModelWithProjection.from_pretrained("FOLDER")  # image embeddings alone
hidden = CLIPVisionModel.from_pretrained("FOLDER")  # hidden states, as LLaVA takes them
```

LLaVA builds its vision tower from the name in `mm_vision_tower` of its `config.json`: with the path
of this folder there, it sees through this tower. The tower must be the one its projector was
trained with, but for its weights: ViT-L/14 at 336 pixels for LLaVA 1.5.
"""

    def check(self, model: CLIPModel, request: ExportRequest) -> None:
        """Refuse what transformers' CLIP cannot express.

        Raises:
            RequestError: if the library is missing, or the model is not built as OpenAI's ViTs are.
        """
        openai_clip(model, "transformers")
        require_installed("transformers", "transformers")

    def write(self, model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
        """Write configuration, weights, image processor and tokenizer."""
        from transformers import CLIPConfig, CLIPImageProcessor
        from transformers import CLIPModel as TheirModel

        from zsrobust.models.transformers_clip import TransformersTokenizer, quieted

        clip = openai_clip(model, "transformers")
        layers = clip.vision.config["num_hidden_layers"], clip.text.config["num_hidden_layers"]
        with quieted(REFUSES):
            theirs = TheirModel(CLIPConfig(**_config(model, clip)))
            theirs.load_state_dict(to_transformers(whole_state(model), layers))
            theirs.save_pretrained(folder)
            CLIPImageProcessor(**_processor(model)).save_pretrained(folder)
        tokenizer: Any = model.text.tokenize  # type: ignore[attr-defined]
        if isinstance(tokenizer, TransformersTokenizer):
            tokenizer.save_pretrained(str(folder))
        else:
            _write_tokenizer(folder, clip.context_length)
        return []

    def load(self, folder: Path, model: CLIPModel) -> Loaded:
        """The folder as transformers' own loaders give it, processor and tokenizer included."""
        from transformers import AutoTokenizer, CLIPImageProcessor
        from transformers import CLIPModel as TheirModel

        from zsrobust.models.transformers_clip import quieted

        with quieted(REFUSES):
            loaded: Any = TheirModel.from_pretrained(folder, local_files_only=True)
            processor = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

        loaded.eval()

        def images(shown: list[Any]) -> Any:
            seen = loaded.vision_model(**processor(images=shown, return_tensors="pt"))
            return loaded.visual_projection(seen.pooler_output)

        def texts(prompts: list[str]) -> Any:
            read = tokenizer(prompts, padding=True, truncation=True, return_tensors="pt")
            return loaded.text_projection(loaded.text_model(**read).pooler_output)

        return Loaded(images, texts, model.preprocessing.image_size)


def _config(model: CLIPModel, clip: OpenAICLIP) -> dict[str, Any]:
    """Both towers as ``CLIPConfig`` describes them."""
    vision, text = clip.vision, clip.text
    return {
        "projection_dim": vision.output,
        "vision_config": {
            **vision.config,
            "image_size": model.preprocessing.image_size,
            "patch_size": clip.patch_size,
            "projection_dim": vision.output,
        },
        "text_config": {
            **text.config,
            "vocab_size": clip.vocab_size,
            "max_position_embeddings": clip.context_length,
            "projection_dim": text.output,
            **clip.special_tokens,
        },
    }


def _processor(model: CLIPModel) -> dict[str, Any]:
    """The image processor nearest to our preprocessing."""
    side, crop = model.preprocessing.image_size, model.preprocessing.settings.crop
    return {
        "size": {"shortest_edge": side} if crop else {"height": side, "width": side},
        "do_center_crop": crop,
        "resample": 2 if model.preprocessing.settings.interpolation == "bilinear" else 3,
        "crop_size": {"height": side, "width": side},
        "image_mean": list(model.preprocessing.statistics["mean"]),
        "image_std": list(model.preprocessing.statistics["std"]),
    }


def _write_tokenizer(folder: Path, context_length: int) -> None:
    """CLIP's byte-pair tokenizer, from the vocabulary that comes with open_clip."""
    from open_clip import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    tokens = sorted(tokenizer.encoder, key=tokenizer.encoder.__getitem__)
    tokens[-2:] = [START, END]
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    settings = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": context_length,
        "do_lower_case": True,
        "errors": "replace",
    }
    for name, content in {
        "vocab.json": {token: index for index, token in enumerate(tokens)},
        "tokenizer_config.json": settings,
        "special_tokens_map.json": special,
    }.items():
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
