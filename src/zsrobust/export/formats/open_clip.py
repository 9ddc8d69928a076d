"""A folder that open_clip loads by ``local-dir:FOLDER``, and by ``hf-hub:`` once it is pushed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.export.checks import require_open_clip
from zsrobust.export.format import Format, Loaded, export_format
from zsrobust.export.request import ExportRequest
from zsrobust.export.weights import whole_state
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import torch

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"


@export_format("open_clip")
class OpenCLIPFolder(Format):
    """open_clip's configuration, weights and tokenizer in a folder."""

    what = "a folder that open_clip loads by local-dir: and hf-hub:"
    library = "open_clip"
    how = """\
```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:FOLDER")
```

Once pushed, `hf-hub:ORG/NAME` takes the place of `local-dir:FOLDER`. Both are names that
`zsrobust evaluate --model` takes, too.
"""

    def check(self, model: CLIPModel, request: ExportRequest) -> None:
        """Refuse what open_clip's format has no place for.

        Raises:
            RequestError: if the model is not open_clip's, or its tokenizer cannot be written.
        """
        from open_clip.tokenizer import SimpleTokenizer

        from zsrobust.models import glyph_clip

        require_open_clip(model, "open_clip")
        tokenizer = model.text.tokenize  # type: ignore[attr-defined]
        if not isinstance(tokenizer, glyph_clip.Tokenizer | SimpleTokenizer) and not hasattr(
            tokenizer, "save_pretrained"
        ):
            raise RequestError(
                f"{model.name} cannot be exported to open_clip: its tokenizer "
                f"({type(tokenizer).__name__}) cannot be written to files"
            )

    def write(self, model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
        """Write configuration, weights and tokenizer; notes for card and terminal are returned."""
        from safetensors.torch import save_file

        from zsrobust.models import glyph_clip

        text: Any = model.text
        config = json.loads(text.architecture)
        tensors = whole_state(model)
        if isinstance(text.tokenize, glyph_clip.Tokenizer):
            config["text_cfg"]["vocab_size"] = len(text.tokenize.table)
        preprocess = {
            **{key: list(values) for key, values in model.preprocessing.statistics.items()},
            "interpolation": model.preprocessing.settings.interpolation,
            "resize_mode": "shortest" if model.preprocessing.settings.crop else "squash",
        }
        content = {"model_cfg": config, "preprocess_cfg": preprocess}
        (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        # CLIP's own comes with open_clip.
        if config["text_cfg"].get("hf_tokenizer_name"):
            text.tokenize.save_pretrained(str(folder))
        if config["text_cfg"].get("hf_model_name"):
            return [
                "The text tower's settings are not in the folder: open_clip reads those of "
                f"{config['text_cfg']['hf_model_name']} from the hub or its cache."
            ]
        return []

    def load(self, folder: Path, model: CLIPModel) -> Loaded:
        """The folder as open_clip's own loader gives it, transform and tokenizer included."""
        import open_clip

        from zsrobust.models import hub

        name = f"local-dir:{folder}"
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            with hub.cache_only():
                loaded, _, transform = open_clip.create_model_and_transforms(name)
                tokenizer = open_clip.get_tokenizer(name)
        finally:
            logging.disable(before)
        loaded.eval()
        return Loaded(
            images=lambda shown: loaded.encode_image(
                torch.stack([transform(one) for one in shown])
            ),
            texts=lambda prompts: loaded.encode_text(tokenizer(prompts)),
            side=model.preprocessing.image_size,
        )
