"""Checkpoints of other projects: BASE@FILE, the model BASE with the image encoder from FILE."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from zsrobust.models import hub
from zsrobust.models.clip import CLIPModel
from zsrobust.models.names import HF_HUB, is_remote
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.utils.errors import RequestError
from zsrobust.utils.progress import Steps

# Where scripts put the weights, the image encoder's own first.
ENVELOPES = (
    *("vision_encoder_state_dict", "partial_state_dict"),
    *("model_state_dict", "state_dict", "model"),
)
# Those of scripts that began as TeCoA's; the second is AdvFLYP's.
TECOA_STYLE = ENVELOPES[:2]
# In a TeCoA-style file written here: how images are prepared.
PROTOCOL = "preprocessing"
# TeCoA's visual prompts, which are saved with the image encoder's weights.
PROMPTS = ("pad_up", "pad_down", "pad_left", "pad_right", "patch", "prompt")
# What DistributedDataParallel, torch.compile and Lightning's modules put before a tensor's name.
WRAPPERS = ("module.", "_orig_mod.", "model.", "clip.")
# Numbers that OpenAI's checkpoints and torch's AveragedModel hold as further tensors.
NUMBERS = ("input_resolution", "context_length", "vocab_size", "n_averaged")
# What of a text side may be trained while its tower is locked, as open_clip does.
SCALES = {"logit_scale", "logit_bias"}
# Files of a TorchScript archive that hold data, besides those in its folders data and .data.
DATA = ("data.pkl", "version", "byteorder")
LFS_POINTER = b"version https://git-lfs"
SUFFIXES = (".tar", ".pth", ".pt", ".bin", ".ckpt", ".safetensors")


def load_foreign(
    name: str, load: Callable[[str], CLIPModel], preprocessing: str | None = None
) -> CLIPModel:
    """The model ``BASE@FILE``: BASE, loaded by ``load``, with the image encoder's weights of FILE.

    FILE is a TeCoA-style dictionary (``.pth.tar``, weights under ``vision_encoder_state_dict``), a
    bare state dict of the image encoder as FARE publishes them, a checkpoint of open_clip (weights
    of a whole CLIP under ``state_dict``), safetensors of either, or a TorchScript archive of either
    as OpenAI publishes them, whose code is left aside. It is read as data alone: nothing in it is
    executed. Its numbers may be of any precision; the encoder computes in fp32.

    A TeCoA-style file takes images as TeCoA's scripts prepare them (``tecoa_code``), unless it
    names another protocol, as those written here do. Preprocessing is else BASE's. Its activation
    is, and so are text side and logit scale, unless FILE holds others: then it is a pre-trained
    model of its own, and its ``source`` is itself. Those of BASE rounded to half precision are no
    others, and a logit scale that alone is another was trained along. What images the weights were
    trained on no such file says: ``seen`` is BASE's.

    Args:
        name: ``BASE@FILE``.
        load: loads BASE.
        preprocessing: a protocol of ``protocols.PROTOCOLS`` instead of FILE's or BASE's.

    Raises:
        RequestError: if FILE is missing, damaged, holds more than data, or a visual prompt, does
            not fit BASE tensor for tensor, or its text side holds nan or infinite weights.
    """
    base, _, file = name.partition("@")
    path = _downloaded(name, file) if is_remote(file) else Path(file)
    content = _read(path)
    tensors = _state_dict(path, content)
    model = load(base)
    model.require_undefended("a checkpoint's weights")
    protocol = preprocessing or _protocol(path, content)
    if protocol is not None:
        model = replace(model, preprocessing=model.preprocessing.with_protocol(protocol))
    image, rest = _split(tensors)
    image = _fitting(path, f"the image encoder of {base}", model.encoder, image)
    model.encoder.load_state_dict(image)
    tuned = replace(model, name=name, method=f"checkpoint {_stem(path)}")
    if not rest:
        return tuned
    if not isinstance(model.text, OpenCLIPText):
        raise RequestError(
            f"{path} holds a text side, as {_few(rest)}, which {base} has no place for: save the "
            "image encoder alone"
        )
    rest = _fitting(path, f"the text side of {base}", model.text.model, rest)
    for key, tensor in rest.items():
        if not bool(tensor.isfinite().all()):
            raise RequestError(f"{path} is damaged: {key} of its text side holds nan or infinity")
    own = model.text.model.state_dict()
    others = {key for key, tensor in rest.items() if not _is_rounded(tensor, own[key])}
    scale = model.logit_scale
    if "logit_scale" in others:
        scale = rest["logit_scale"].float().exp().item()
    if others <= SCALES:
        return replace(tuned, logit_scale=scale)
    return replace(
        model,
        name=name,
        source=f"{model.source}@{file if is_remote(file) else path.resolve()}",
        method="original",
        text=model.text.with_weights(rest),
        logit_scale=scale,
    )


def _downloaded(name: str, file: str) -> Path:
    """A checkpoint on the hub or at another address; where that holds a SHA-256 it is checked."""
    what = f"the weights of {name}"
    if not file.startswith(HF_HUB):
        known = re.search(r"/([0-9a-f]{64})/", file)
        return hub.fetch_address(file, what, known[1] if known else "")
    organisation, _, rest = file.removeprefix(HF_HUB).partition("/")
    repository, _, inside = rest.partition("/")
    if not inside:
        raise RequestError(f"{name}: write hf-hub:ORG/NAME/FILE for a checkpoint on the hub")
    place = f"{organisation}/{repository}"
    return Path(hub.fetch(lambda: hub.first_file(place, inside), what, place))


def _read(path: Path) -> Any:
    _require_checkpoint(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if not zipfile.is_zipfile(path):
            return _load(path)
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
            if {"data.pkl", "constants.pkl"} <= names:
                return _torchscript_tensors(archive)
        # Only the zip format can be mapped; an optimizer in it then costs no memory.
        return _load(path, mmap=True)
    except pickle.UnpicklingError as reason:
        raise RequestError(
            f"{path} is damaged or holds Python objects besides tensors, which could run code when "
            "read: save its state dict alone"
        ) from reason
    # In a damaged one, readers of zip, pickle and safetensors fail in any way: struct.error,
    # IndexError, AssertionError.
    except Exception as reason:
        raise RequestError(
            f"{path} cannot be read as a checkpoint: it is damaged, or torch and safetensors wrote "
            "no such file: copy it again, or save its state dict with one of them"
        ) from reason


def _require_checkpoint(path: Path) -> None:
    if path.is_dir():
        raise RequestError(
            f"{path} is a folder, no checkpoint file: name the file in it, or a model's folder "
            "without BASE@"
        )
    if not path.is_file():
        raise RequestError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as reason:
        raise RequestError(f"{path} cannot be read: {reason.strerror or reason}") from reason
    if not start:
        raise RequestError(f"{path} cannot be read as a checkpoint: it is empty, copy it again")
    if start == LFS_POINTER:
        raise RequestError(
            f"{path} cannot be read as a checkpoint: it is what Git LFS leaves in its place: run "
            "`git lfs pull` in its repository"
        )


def _load(file: Path | io.BytesIO, *, mmap: bool = False) -> Any:
    with torch.serialization.safe_globals(_numpy_numbers()):
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)


class _Record:
    """A module of a TorchScript archive as it was pickled: attributes by name, and no code."""


def _torchscript_tensors(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """The tensors of a TorchScript archive by name, read by torch's weights-only unpickler.

    ``torch.jit.load`` would compile the archive's code and take it over. Here only the pickled
    attributes and the tensors' bytes are taken out, and every class of the archive is a record.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as data:
        for name in archive.namelist():
            inner = name.partition("/")[2]
            if inner in DATA or inner.startswith(("data/", ".data/")):
                data.writestr(name, archive.read(name))
    buffer.seek(0)
    found = torch.serialization.get_unsafe_globals_in_checkpoint(buffer)
    known: list[Any] = [(_Record, name) for name in found if name.startswith("__torch__.")]
    # Typed lists and dictionaries, which are pickled through functions that give back the first.
    known += [(_first, name) for name in found if name.startswith("torch.jit._pickle.")]
    buffer.seek(0)
    with torch.serialization.safe_globals(known):
        root = _load(buffer)
    return dict(_named_tensors(root, ""))


def _first(value: object, *_: object) -> object:
    return value


def _named_tensors(record: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(record).items() if isinstance(record, _Record) else ():
        if isinstance(value, Tensor):
            yield prefix + name, value
        else:
            yield from _named_tensors(value, f"{prefix}{name}.")


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
    if envelope in TECOA_STYLE:
        _refuse_prompts(path, content)
    if not inner or not all(isinstance(value, Tensor) for value in inner.values()):
        raise RequestError(
            f"{path} holds no tensors where they are looked for, at its top or under "
            f"{', '.join(ENVELOPES)}; it has {_few([str(key) for key in content]) or 'nothing'}"
        )
    tensors = {}
    for key, value in inner.items():
        while key.startswith(WRAPPERS):
            key = key.partition(".")[2]
        if key in tensors:
            raise RequestError(
                f"{path} holds {key} of more than one model, as a student and a teacher: save the "
                "state dict of one of them"
            )
        tensors[key] = value
    _refuse_other_formats(path, tensors)
    return {key: value for key, value in tensors.items() if key not in NUMBERS}


def _protocol(path: Path, content: Mapping[str, Any]) -> str | None:
    """How images are prepared for the weights in a TeCoA-style file; None for any other file."""
    if not any(isinstance(content.get(key), Mapping) for key in TECOA_STYLE):
        return None
    named = content.get(PROTOCOL)
    if named is not None:
        return str(named)
    Steps("", 1).say(
        f"{path}: images are prepared as by the scripts of TeCoA, TGA-ZSR and TTC (tecoa_code); "
        "for a checkpoint of PMG-AFT's script give preprocessing authors_code"
    )
    return "tecoa_code"


def _refuse_other_formats(path: Path, keys: Collection[str]) -> None:
    """Say what a checkpoint is whose tensors are there and have other meanings."""
    if any("lora_" in key for key in keys):
        raise RequestError(
            f"{path} holds LoRA factors, not whole weights: merge them into the model's weights "
            "and save its state dict"
        )
    if any(key.startswith(("vision_model.", "text_model.")) for key in keys):
        raise RequestError(
            f"{path} is a checkpoint of transformers, whose tensors have other names and shapes: "
            "load its folder, as transformers:FOLDER"
        )


def _refuse_prompts(path: Path, content: Mapping[str, Any]) -> None:
    for part in ("state_dict", "add_prompter"):
        prompts = content.get(part)
        for key, value in prompts.items() if isinstance(prompts, Mapping) else ():
            if key.rpartition(".")[2] in PROMPTS and isinstance(value, Tensor) and value.numel():
                raise RequestError(
                    f"{path} holds a visual prompt ({part}: {key}) next to the image encoder, "
                    "which is not applied here: the encoder alone would be another model"
                )


def _split(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The image encoder's tensors, and those of the rest of a whole CLIP."""
    prefix = "visual."
    image = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    if not image:
        return tensors, {}
    return image, {key: t for key, t in tensors.items() if not key.startswith(prefix)}


def _is_rounded(found: Tensor, own: Tensor) -> bool:
    """Whether ``found`` is ``own``, or ``own`` rounded to its precision or to half precision."""
    precisions = (found.dtype, torch.float16, torch.bfloat16)
    return any(torch.equal(found, own.to(precision).to(found.dtype)) for precision in precisions)


def _fitting(
    path: Path, place: str, module: nn.Module, found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors for ``module``, one for each that it has."""
    wanted = module.state_dict()
    # What a module computes for itself, such as an attention mask; TorchScript stores it as well.
    computed = {name for name, _ in module.named_buffers()} - wanted.keys()
    found = {key: tensor for key, tensor in found.items() if key not in computed}
    misfits = {
        "it lacks": [key for key in wanted if key not in found],
        "it also has": [key for key in found if key not in wanted],
        "of another shape are": [
            f"{key} {tuple(found[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in wanted
            if key in found and found[key].shape != wanted[key].shape
        ],
        "of integers, as after quantisation, are": [
            key
            for key in wanted
            if key in found
            and wanted[key].is_floating_point()
            and not found[key].is_floating_point()
        ],
    }
    problems = [f"{what} {_few(keys)}" for what, keys in misfits.items() if keys]
    if problems:
        raise RequestError(f"{path} does not fit {place}: {'; '.join(problems)}")
    return found


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
