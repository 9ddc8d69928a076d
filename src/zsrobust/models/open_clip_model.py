"""Models of open_clip: ARCH/TAG, ARCH/random, hf-hub:ORG/NAME and local-dir:FOLDER."""

from __future__ import annotations

import json
import logging
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zsrobust.models import hub
from zsrobust.models.clip import CLIPModel
from zsrobust.models.names import architecture_of, require_local_dir, unknown_model
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.protocols import LOADER_RESIZES
from zsrobust.utils.errors import RequestError
from zsrobust.utils.progress import Steps

RANDOM = "random"
RANDOM_SEED = 0
PIXELS = ("mean", "std", "interpolation", "resize_mode")
"""What open_clip's settings say of how images are prepared, but for their size."""


def load_tagged(name: str) -> CLIPModel:
    """Load ``ARCH/TAG``, open_clip's weights under their tag, or ``ARCH/random``.

    Random weights are the same at every load and leave the global random state as it was.
    The activation is the one the tag's weights were trained with: the ``openai`` weights get
    QuickGELU under ``ViT-B-32`` as under ``ViT-B-32-quickgelu``. Random weights have the
    architecture's own.

    Raises:
        RequestError: if architecture or tag is unknown, or the weights cannot be had.
    """
    import open_clip

    architecture, tag = split_name(name)
    config = open_clip.get_model_config(architecture)
    if tag == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            model = _create(name, config, architecture, pretrained_text=False)
            # A CoCa's, which open_clip leaves as the memory happened to be.
            if isinstance(decoder := getattr(model, "text_decoder", None), nn.Module):
                nn.init.normal_(decoder.text_projection, std=0.01)  # type: ignore[arg-type]
        return _assemble(name, model, architecture, config)

    weights = open_clip.get_pretrained_cfg(architecture, tag)
    quick_gelu = bool(config.get("quick_gelu") or weights.get("quick_gelu"))
    model = _create(
        name,
        config,
        architecture,
        pretrained=_weights_file(name, weights),
        force_quick_gelu=quick_gelu,
        force_preprocess_cfg={key: weights[key] for key in PIXELS if key in weights},
    )
    return _assemble(name, model, architecture, {**config, "quick_gelu": quick_gelu})


def load_hub(name: str) -> CLIPModel:
    """Load ``hf-hub:ORG/NAME``, a hub repository in open_clip's format.

    Raises:
        RequestError: if the repository cannot be had, or is not in that format.
    """
    from open_clip.constants import HF_CONFIG_NAME, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repository = name.removeprefix("hf-hub:")
    files = hub.fetch(
        lambda: (
            hub.first_file(repository, HF_CONFIG_NAME),
            hub.first_file(repository, HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME),
        ),
        f"the configuration and weights of {name}",
        repository,
    )
    return _load_described(name, Path(files[0]))


def load_local(name: str) -> CLIPModel:
    """Load ``local-dir:FOLDER``, a folder in the format open_clip pushes to the hub.

    It holds ``open_clip_config.json``, the weights, and the tokenizer if it is not CLIP's.

    Raises:
        RequestError: if the folder is missing, incomplete or damaged.
    """
    folder = require_local_dir(name)
    if not (folder / "open_clip_config.json").is_file():
        raise RequestError(f"{name}: the folder has no open_clip_config.json")
    if not any(file.suffix in (".safetensors", ".bin", ".pth") for file in folder.iterdir()):
        raise RequestError(
            f"{name}: the folder has no weights; open_clip_model.safetensors is missing"
        )
    # Where it lies must not depend on where the next command is started.
    return replace(
        _load_described(name, folder / "open_clip_config.json"),
        source=f"local-dir:{folder.resolve()}",
    )


def split_name(name: str) -> tuple[str, str]:
    """``ARCH/TAG`` to an architecture and a tag that open_clip knows, or ``random``.

    Raises:
        RequestError: if either is missing or unknown.
    """
    import open_clip

    architectures = open_clip.list_models()
    if name in architectures:
        raise RequestError(
            f"model {name!r} names no weights: write {name}/TAG with a TAG of {_tags(name)}"
        )
    architecture, tag = architecture_of(name), name.rpartition("/")[2]
    if architecture not in architectures:
        raise unknown_model(name)
    if tag != RANDOM and not open_clip.get_pretrained_cfg(architecture, tag):
        raise RequestError(
            f"model {name!r}: {architecture} has no weights tagged {tag!r}: "
            f"choose one of {_tags(architecture)}"
        )
    return architecture, tag


def _tags(architecture: str) -> str:
    import open_clip

    return ", ".join([*open_clip.list_pretrained_tags_by_model(architecture), RANDOM])


def _weights_file(name: str, weights: dict[str, Any]) -> str:
    from open_clip.factory import download_pretrained

    what = f"the weights of {name}"
    if not (place := weights.get("hf_hub")):
        # Old tags have a plain address and no repository.
        return hub.fetch(lambda: str(download_pretrained(weights)), what, weights["url"])
    repository, _, file = place.rpartition("/")
    names = _names_of_weights(file)
    return hub.fetch(lambda: hub.first_file(repository, *names), what, repository)


def _names_of_weights(file: str) -> list[str]:
    """What open_clip looks for where a tag names ``file``, or none: safetensors first."""
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if file in ("", HF_WEIGHTS_NAME):
        return [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    stem, _, ending = file.rpartition(".")
    return [f"{stem}.safetensors", file] if ending in ("bin", "pth") else [file]


def _load_described(name: str, config_file: Path) -> CLIPModel:
    """Load a model whose configuration lies in open_clip's JSON file."""
    try:
        config = json.loads(config_file.read_text("utf-8"))["model_cfg"]
        config["text_cfg"], config["vision_cfg"]
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise RequestError(
            f"{name}: open_clip_config.json is damaged, it must be JSON with model_cfg, and in it "
            "text_cfg and vision_cfg"
        ) from reason
    model = _create(name, config, name, require_pretrained=True)
    return _assemble(name, model, name, config)


def _create(name: str, config: dict[str, Any], spec: str, **options: Any) -> nn.Module:
    """open_clip's model of ``spec``, its files from the cache or the folder."""
    import open_clip
    from huggingface_hub import hf_hub_download

    if text := config["text_cfg"].get("hf_model_name"):
        hub.fetch(
            lambda: hf_hub_download(text, "config.json"),
            f"the text tower's settings of {name}",
            text,
        )
    try:
        with hub.cache_only(), _quiet():
            model: nn.Module = open_clip.create_model(spec, weights_only=True, **options)
    # Unpicklers, safetensors, timm and open_clip each raise their own classes.
    except Exception as reason:
        details = textwrap.shorten(str(reason), 300)
        raise RequestError(f"{name} cannot be loaded: {details}") from reason
    return model.float().eval()


def _assemble(name: str, model: Any, spec: str, config: dict[str, Any]) -> CLIPModel:
    """Take a model of open_clip apart into image tower and text side.

    A SigLIP's logit bias is the same for every class, so it changes neither softmax nor argmax
    and is left out.
    """
    visual = model.visual
    size = visual.image_size
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    if height != width:
        raise RequestError(
            f"{name} takes images of {height} by {width} pixels: choose a model with square input"
        )
    # CoCa's towers return patch tokens in addition to the embedding.
    if getattr(visual, "output_tokens", False):
        visual.output_tokens = False
    del model.visual
    tokenize = _tokenizer(name, spec, config)
    settings = visual.preprocess_cfg
    interpolation, crop = _resize(name, settings)
    return CLIPModel(
        name=name,
        encoder=visual,
        text=OpenCLIPText(model, tokenize, json.dumps(config, sort_keys=True)),
        preprocessing=Preprocessing(
            "clip",
            height,
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            interpolation=interpolation,
            crop=crop,
        ),
        logit_scale=model.logit_scale.exp().item(),
        loader_resize=LOADER_RESIZES[interpolation, crop],
    )


def _resize(name: str, settings: dict[str, Any]) -> tuple[str, bool]:
    """Interpolation, and whether the centre is cropped, of open_clip's evaluation transform."""
    interpolation = settings.get("interpolation") or "bicubic"
    mode = settings.get("resize_mode") or "shortest"
    # As open_clip does outside training.
    interpolation = "bicubic" if interpolation == "random" else interpolation
    if interpolation not in ("bicubic", "bilinear") or mode not in ("shortest", "squash"):
        Steps("", 1).say(
            f"{name} resizes by {interpolation} with resize_mode {mode}, which is not available "
            "here: CLIP's bicubic resize and centre crop are used"
        )
        return "bicubic", True
    return interpolation, mode == "shortest"


def _tokenizer(name: str, spec: str, config: dict[str, Any]) -> Any:
    import open_clip

    with _quiet():
        if not name.startswith("local-dir:"):
            source = config["text_cfg"].get("hf_tokenizer_name", name.removeprefix("hf-hub:"))
            return hub.fetch(
                lambda: open_clip.get_tokenizer(spec), f"the tokenizer files of {name}", source
            )
        try:
            with hub.cache_only():
                return open_clip.get_tokenizer(spec)
        except Exception as reason:
            raise RequestError(
                f"{name}: the folder's tokenizer files are missing or damaged"
            ) from reason


@contextmanager
def _quiet() -> Iterator[None]:
    """Without open_clip's notes on the root logger: what matters in them is an error here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
