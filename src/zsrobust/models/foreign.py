"""Checkpoints of other projects: BASE@FILE, the model BASE with the image encoder from FILE."""

from __future__ import annotations

import pickle
import textwrap
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zsrobust.errors import RequestError
from zsrobust.models.clip import CLIPModel
from zsrobust.models.open_clip_text import OpenCLIPText

# Where scripts put the weights, the image encoder's own first.
ENVELOPES = ("vision_encoder_state_dict", "model_state_dict", "state_dict", "model")
# TeCoA's visual prompts, which lie beside the image encoder's weights.
PROMPTS = ("pad_up", "pad_down", "pad_left", "pad_right", "patch", "prompt")
SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def is_foreign(name: str) -> bool:
    """Whether ``name`` is ``BASE@FILE``; a folder's own name may hold an @ too."""
    return "@" in name and not Path(name.removeprefix("local-dir:")).is_dir()


def load_foreign(name: str, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model ``BASE@FILE``: BASE, loaded by ``load``, with the image encoder's weights of FILE.

    FILE is a TeCoA-style dictionary (``.pth.tar``, weights under ``vision_encoder_state_dict``), a
    bare state dict of the image encoder as FARE publishes them, a checkpoint of open_clip (weights
    of a whole CLIP under ``state_dict``), or safetensors of either. It is read as data alone:
    nothing in it is executed.

    Preprocessing and activation are BASE's, and so are text side and logit scale, unless FILE holds
    others: then it is a pre-trained model of its own, and its ``source`` is itself. What images the
    weights were trained on no such file says: ``seen`` is BASE's.

    Raises:
        RequestError: if FILE is missing, damaged, holds more than data, or a visual prompt, or does
            not fit BASE tensor for tensor.
    """
    base, _, file = name.partition("@")
    path = Path(file)
    tensors = _state_dict(path, _read(path))
    model = load(base)
    model.require_undefended("a checkpoint's weights")
    image, rest = _split(tensors)
    _require_fit(path, f"the image encoder of {base}", model.encoder, image)
    model.encoder.load_state_dict(image)
    tuned = replace(model, name=name, method=f"checkpoint {_stem(path)}")
    if not rest:
        return tuned
    if not isinstance(model.text, OpenCLIPText):
        raise RequestError(
            f"{path} holds a text side, as {_few(rest)}, which {base} has no place for: save the "
            "image encoder alone"
        )
    _require_fit(path, f"the text side of {base}", model.text.model, rest)
    text = model.text.with_weights(rest)
    if text.fingerprint == model.text.fingerprint:
        return tuned
    return replace(
        model,
        name=name,
        source=f"{model.source}@{path.resolve()}",
        method="original",
        text=text,
        logit_scale=rest["logit_scale"].float().exp().item(),
    )


def _read(path: Path) -> Any:
    if not path.is_file():
        raise RequestError(f"there is no checkpoint {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals(_numpy_numbers()):
            # Only the zip format can be mapped; an optimizer in it then costs no memory.
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as reason:
        raise RequestError(
            f"{path} is damaged or holds Python objects besides tensors, which could run code when "
            "read: save its state dict alone"
        ) from reason
    # In a damaged one, readers of zip, pickle and safetensors fail in any way: struct.error,
    # IndexError, AssertionError.
    except Exception as reason:
        details = textwrap.shorten(str(reason), 200)
        raise RequestError(f"{path} cannot be read as a checkpoint: {details}") from reason


def _numpy_numbers() -> list[Any]:
    """What a pickled NumPy number is made of: scripts of the field save their accuracy as one."""
    scalar = np.float64(0).__reduce__()[0]
    modules = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64")]
    return [*((scalar, module) for module in modules), np.dtype, *kinds]


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    """The tensors by name, out of their envelope, without what wrappers put before the names."""
    if not isinstance(content, Mapping):
        raise RequestError(f"{path} holds a {type(content).__name__}, no dictionary of tensors")
    envelope = next((key for key in ENVELOPES if isinstance(content.get(key), Mapping)), None)
    inner = content if envelope is None else content[envelope]
    if envelope == ENVELOPES[0]:
        _refuse_prompts(path, content)
    if not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        raise RequestError(
            f"{path} holds no tensors where they are looked for, at its top or under "
            f"{', '.join(ENVELOPES)}; it has {_few([str(key) for key in content])}"
        )
    # DistributedDataParallel adds "module.", torch.compile "_orig_mod.".
    tensors = {}
    for key, value in inner.items():
        while key.startswith(("module.", "_orig_mod.")):
            key = key.partition(".")[2]
        tensors[key] = value
    return tensors


def _refuse_prompts(path: Path, content: Mapping[str, Any]) -> None:
    for part in ("state_dict", "add_prompter"):
        beside = content.get(part)
        for key, value in beside.items() if isinstance(beside, Mapping) else ():
            if key.rpartition(".")[2] in PROMPTS and isinstance(value, Tensor) and value.numel():
                raise RequestError(
                    f"{path} holds a visual prompt ({part}: {key}) beside the image encoder, which "
                    "is not applied here: the encoder alone would be another model"
                )


def _split(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The image encoder's tensors, and those of the rest of a whole CLIP."""
    prefix = "visual."
    image = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    if not image:
        return tensors, {}
    return image, {key: t for key, t in tensors.items() if not key.startswith(prefix)}


def _require_fit(path: Path, place: str, module: nn.Module, found: dict[str, Tensor]) -> None:
    wanted = module.state_dict()
    misfits = {
        "it lacks": [key for key in wanted if key not in found],
        "it also has": [key for key in found if key not in wanted],
        "of another shape are": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in wanted
            if key in found and found[key].shape != wanted[key].shape
        ],
    }
    for what, keys in misfits.items():
        if keys:
            raise RequestError(f"{path} does not fit {place}: {what} {_few(keys)}")


def _few(keys: Collection[str]) -> str:
    """The first three of ``keys``, and how many more."""
    first, more = list(keys)[:3], len(keys) - 3
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _stem(path: Path) -> str:
    """The file's name without its endings, but not without ``0.5`` of ``eps_0.5.pth.tar``."""
    name = path.name
    while name.endswith(SUFFIXES):
        name = Path(name).stem
    return name
