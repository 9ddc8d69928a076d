"""Fine-tunes a small random model of every family of towers in open_clip, each in its own process.

Started as ``train_each_family.py DATA FOLDER``, with a cache of the Hugging Face hub that holds the
text tower TEXT. Leaves ``FOLDER/ARCHITECTURE``, a run folder, and ``FOLDER/statuses.json``: exit
status by architecture, negative for a signal. Each process is a fork, so torch is imported once.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import open_clip
import timm

from zsrobust.config.schema import FinetuneConfig
from zsrobust.models.loading import load
from zsrobust.training.finetune import finetune

TEXT = "example/text"
# By architecture: changes of its image side, as open_clip's configuration and as timm's arguments.
SMALL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "RN50": ({"layers": [1, 1, 1, 1], "width": 16, "image_size": 64}, {}),
    "ViT-B-32": ({"layers": 1, "width": 64, "image_size": 64}, {}),
    "ViT-L-14-CLIPA": ({"layers": 1, "width": 64, "image_size": 56}, {}),
    "coca_base": ({"layers": 1, "width": 64, "image_size": 36}, {}),
    "coca_ViT-B-32": ({"layers": 1, "width": 64, "image_size": 64}, {}),
    "roberta-ViT-B-32": ({"layers": 1, "width": 64, "image_size": 64}, {}),
    "convnext_tiny": ({"image_size": 64}, {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}),
    "swin_base_patch4_window7_224": ({}, {"depths": (1, 1, 1, 1), "embed_dim": 32}),
    "EVA02-B-16": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "PE-Core-T-16-384": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "ViT-B-16-SigLIP": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "vit_medium_patch16_gap_256": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "vit_relpos_medium_patch16_cls_224": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "ViTamin-S": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "MobileCLIP-B": ({"image_size": 64}, {"depth": 1, "img_size": 64}),
    "MobileCLIP-S1": ({}, {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 64)}),
    "MobileCLIP2-S0": ({}, {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 64)}),
    "MobileCLIP2-S3": ({}, {"layers": (1,) * 5, "embed_dims": (16, 32, 64, 64, 64)}),
}


def shrink(architecture: str) -> None:
    """Make a small form of ``architecture`` known to open_clip, as ``small``."""
    config = open_clip.get_model_config(architecture)
    changes, arguments = SMALL[architecture]
    config["vision_cfg"] |= changes
    for key in ("text_cfg", "multimodal_cfg"):
        for name in ("hf_tokenizer_name", "tokenizer_kwargs"):
            config.get(key, {}).pop(name, None)
        if key in config:
            config[key] |= {"layers": 1, "width": 32, "heads": 2, "vocab_size": 49408}
    if "hf_model_name" in config["text_cfg"]:
        pooler = config["text_cfg"]["hf_pooler_type"]
        names = dict.fromkeys(("hf_model_name", "hf_tokenizer_name"), TEXT)
        config["text_cfg"] = {**names, "hf_pooler_type": pooler}
    open_clip.factory._MODEL_CONFIGS["small"] = config
    create = timm.create_model
    timm.create_model = lambda *given, **more: create(*given, **{**more, **arguments})


def train(architecture: str, data: str, out: Path) -> None:
    shrink(architecture)
    finetune(
        FinetuneConfig(
            **{"model": "small/random", "data": data, "out": str(out), "steps": 1, "batch_size": 2},
            **{"method": "tecoa", "hold_out": 0.2, "device": "cpu", "workers": 0},
        )
    )
    assert load(str(out)).source == "small/random"


def main() -> None:
    data, folder = sys.argv[1:]
    statuses = {}
    for architecture in SMALL:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                train(architecture, data, Path(folder) / architecture)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        statuses[architecture] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    (Path(folder) / "statuses.json").write_text(json.dumps(statuses))


if __name__ == "__main__":
    main()
