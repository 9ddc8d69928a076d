"""One name, one model: every form of name and who loads it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor, nn

from zsrobust.errors import RequestError
from zsrobust.files import as_argument, is_folder, local_path
from zsrobust.models import glyph_clip, open_clip_model, photo_lite
from zsrobust.models.clip import CLIPModel
from zsrobust.models.foreign import is_foreign, load_foreign
from zsrobust.models.interpolation import load_wise
from zsrobust.models.name_forms import Form, read_form
from zsrobust.models.robust import ROBUST, load_robust
from zsrobust.models.ttc import load_ttc
from zsrobust.models.weights import CARD, load_model_folder

LOADERS: dict[str, Callable[[str], CLIPModel]] = {
    "glyph-clip": glyph_clip.load,
    "photo-lite": photo_lite.load,
    "hf-hub": open_clip_model.load_hub,
    "local-dir": open_clip_model.load_local,
}
"""Loaders by the name's part before ``:`` or ``/``; other names are ARCH/TAG."""

PACKAGED = ("glyph-clip", *ROBUST, photo_lite.NAME, photo_lite.WITHOUT_TINY_IMAGENET)

FORMS: dict[str, Callable[[Form, Callable[[str], CLIPModel]], CLIPModel]] = {
    "ttc": load_ttc,
    "wise": load_wise,
}
"""Makers of models from models, ``WORD(MODEL, ...)``, by word; each gets what loads a name."""


def load(
    name: str, *, preprocessing: str | None = None, device: str | torch.device = "cpu"
) -> CLIPModel:
    """Load a model by name; its encoder in evaluation mode on ``device``, its text on the CPU.

    A name of a published model is that model, whatever the folders here are called; any other name
    of a folder is the folder. ``./NAME`` is always a folder, and ``~`` the home folder, behind
    ``local-dir:`` and ``@`` too.

    Args:
        name: ``ARCH/TAG`` of open_clip (``ViT-B-32/openai``), ``ARCH/random``,
            ``hf-hub:ORG/NAME``, ``local-dir:FOLDER``, ``glyph-clip``, ``glyph-clip-robust``,
            ``glyph-clip-zsrobust``, ``photo-lite``, ``photo-lite/without-tiny-imagenet``,
            ``photo-lite-robust``, ``BASE@FILE`` (any of these with the image encoder of another
            project's checkpoint file), a model folder of this package, a run folder with one in
            ``model/``, ``ttc(MODEL)``, any of them defended, or ``wise(MODEL, ALPHA)``, a
            fine-tuned one partway from its original.
        preprocessing: a protocol of ``preprocessing.PROTOCOLS`` instead of the model's own.
        device: where the image encoder goes.

    Raises:
        RequestError: if the name is unknown, or the model is incomplete, damaged or not to be had,
            or a weight of its image encoder is nan or infinite.
    """
    name = _with_home(name)
    in_folder = is_folder(name) and not _is_published(name)
    form = None if in_folder else read_form(name)
    if form and form.word in FORMS:
        return FORMS[form.word](form, partial(load, preprocessing=preprocessing, device=device))
    loader = LOADERS.get(re.split("[:/]", name)[0], open_clip_model.load_tagged)
    if is_foreign(name):
        loader = partial(load_foreign, load=load)
    elif name in ROBUST:
        loader = partial(load_robust, load=load)
    elif not in_folder and loader is open_clip_model.load_tagged and re.search("[()]", name):
        raise RequestError(
            f"model {name!r} is unknown, neither a folder nor written ttc(MODEL, KEY=VALUE) or "
            "wise(MODEL, ALPHA); transfer(ATTACK, MODEL) is an attack"
        )
    # Towers draw random weights before they get their own; the global generator is given back.
    with torch.random.fork_rng(devices=[]):
        if in_folder:
            model = load_model_folder(_model_folder(Path(name)), load, preprocessing)
        else:
            model = loader(name)
            if is_foreign(name):
                # Nothing is known of the run that made the file.
                model = replace(model, record={})
            if preprocessing is not None:
                model = replace(model, preprocessing=model.preprocessing.under(preprocessing))
    _require_finite(model)
    _use_channels_last(model.encoder.to(device).eval())
    model.preprocessing.to(device)
    return model


def resuming_command(run: Path) -> str:
    """The command with which a fine-tuning in the folder ``run`` goes on."""
    out = as_argument(run)
    return shlex.join(["zsrobust", "finetune", "--config", f"{out}/config.yaml", "--out", out])


def folder_name(folder: Path) -> str:
    """What ``load`` takes for the model in ``folder``, whatever the folder is called."""
    text = as_argument(folder)
    means_another = _is_published(text) or _with_home(text) != text
    return f"./{text}" if means_another else text


def _is_published(name: str) -> bool:
    """Whether ``name`` is that of a published model, of which some are not at hand here."""
    if name in PACKAGED or name.startswith(("hf-hub:", "local-dir:")):
        return True
    try:
        open_clip_model.split_name(name)
    except RequestError:
        return False
    return True


def _with_home(name: str) -> str:
    """``name`` with the home folder for ``~`` wherever a path begins."""
    scheme = "local-dir:" if name.startswith("local-dir:") else ""
    base, at, file = name.removeprefix(scheme).partition("@")
    base, file = (str(local_path(t)) if t.startswith("~") else t for t in (base, file))
    return f"{scheme}{base}{at}{file}"


def _use_channels_last(encoder: nn.Module) -> None:
    """Convolutions are faster on CPUs in this layout; the unsafe ones keep the usual one."""
    encoder.to(memory_format=torch.channels_last)
    for module in encoder.modules():
        if _is_unsafe_in_channels_last(module):
            # Of a 1x1 kernel both layouts are contiguous, so that only a clone has other strides.
            weight = module.weight.data.clone(memory_format=torch.contiguous_format)
            module.weight.data = weight
            module.register_forward_pre_hook(_make_contiguous)


def _is_unsafe_in_channels_last(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether the gradient to this convolution's weights would be written out of bounds.

    oneDNN 3.12 (torch 2.14) copies the pixels that a dense 1x1 convolution with a stride reads to a
    scratch buffer first. Channels-last, in fp32 as in bf16, it takes rows of a whole vector, 16
    channels, in a buffer for rows of the channels that there are. MobileCLIP's stems have one.
    """
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < 16
    )


def _make_contiguous(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    """A forward pre-hook; the layout of its input alone can decide that of a convolution."""
    return (inputs[0].contiguous(),)


def _require_finite(model: CLIPModel) -> None:
    """Such weights give logits that are no numbers, which no class wins and no attack changes."""
    for name, tensor in model.encoder.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise RequestError(
                f"model {model.name}: {name} of its image encoder holds nan or infinite weights: "
                "repeat the run that made them, with a lower learning rate"
            )


def _model_folder(folder: Path) -> Path:
    for candidate in (folder, folder / "model"):
        if (candidate / CARD).is_file():
            return candidate
    if (folder / "checkpoints").is_dir():
        raise RequestError(
            f"run {folder} holds no model yet, because it ended before its first evaluation on "
            f"held-out images; it goes on with: {resuming_command(folder)}"
        )
    raise RequestError(
        f"folder {folder} holds no model, neither {CARD} nor model/{CARD}: if it is a run's, "
        "the run has not finished; a folder in open_clip's format is local-dir:FOLDER"
    )
