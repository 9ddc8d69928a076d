"""One name, one model: every form of name and who loads it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TypeGuard

import torch
from torch import Tensor, nn

from zsrobust.models import open_clip_model
from zsrobust.models.clip import CLIPModel
from zsrobust.models.foreign import load_foreign
from zsrobust.models.name_forms import read_form
from zsrobust.models.names import (
    FORMS,
    HF_HUB,
    LOADERS,
    LOCAL_DIR,
    OWN_DEFENCE,
    PACKAGED,
    TRANSFORMERS,
    is_foreign,
    loader_word,
    model_folder,
    unknown_model,
    with_home,
)
from zsrobust.models.robust import ROBUST, load_robust
from zsrobust.models.weights import load_model_folder
from zsrobust.models.zoo import ZOO, load_zoo
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import as_argument, is_folder
from zsrobust.utils.own_code import split_own


def load(
    name: str, *, preprocessing: str | None = None, device: str | torch.device = "cpu"
) -> CLIPModel:
    """Load a model by name; its encoder in evaluation mode on ``device``, its text on the CPU.

    A name of a published model is that model, whatever the folders here are called; any other name
    of a folder is the folder. ``./NAME`` is always a folder, and ``~`` the home folder, behind
    ``local-dir:`` and ``@`` too.

    Args:
        name: ``ARCH/TAG`` of open_clip (``ViT-B-32/openai``), ``ARCH/random``,
            ``hf-hub:ORG/NAME``, ``local-dir:FOLDER``, ``transformers:ORG/NAME`` or
            ``transformers:FOLDER``, ``glyph-clip``, ``glyph-vit``, ``glyph-clip-robust``,
            ``photo-lite``, ``photo-lite/without-tiny-imagenet``,
            ``photo-lite-robust``, ``zoo:NAME`` (a public robust CLIP of ``zoo.yaml``),
            ``BASE@FILE`` (any of these with the image encoder of another project's checkpoint: a
            file here, ``hf-hub:ORG/NAME/FILE`` or an address), a model folder of this package, a
            run folder with one in ``model/``, ``ttc(MODEL)``, ``jpeg(MODEL)`` and so on, any of
            them behind a test-time defence, or ``wise(MODEL, ALPHA)``, a fine-tuned one partway
            from its original.
        preprocessing: a protocol of ``protocols.PROTOCOLS`` instead of the model's own.
        device: where the image encoder goes.

    Raises:
        RequestError: if the name is unknown, or the model is incomplete, damaged or not to be had,
            or a weight of its image encoder is nan or infinite.
    """
    name = with_home(name)
    in_folder = is_folder(name) and not _is_published(name)
    form = None if in_folder else read_form(name)
    if form and (form.word in FORMS or split_own(form.word)):
        make = resolve_name(FORMS.get(form.word, OWN_DEFENCE))
        made: CLIPModel = make(form, partial(load, preprocessing=preprocessing, device=device))
        return made
    if name.startswith(ZOO):
        return load_zoo(name, partial(load, device=device), preprocessing)
    known = LOADERS.get(loader_word(name))
    loader = resolve_name(known) if known else open_clip_model.load_tagged
    if is_foreign(name):
        loader = partial(load_foreign, load=load, preprocessing=preprocessing)
    elif name in ROBUST:
        loader = partial(load_robust, load=load)
    elif not in_folder and loader is open_clip_model.load_tagged and re.search("[()]", name):
        raise unknown_model(name)
    # Towers draw random weights before they get their own; the global generator is given back.
    with torch.random.fork_rng(devices=[]):
        if in_folder:
            model = load_model_folder(model_folder(Path(name)), load, preprocessing)
        else:
            model = loader(name)
            if is_foreign(name):
                # Nothing is known of the run that made the file.
                model = replace(model, record={})
            elif preprocessing is not None:
                own = model.preprocessing
                model = replace(model, preprocessing=own.with_protocol(preprocessing))
    _require_finite(model)
    _use_channels_last(model.encoder.to(device).eval())
    model.preprocessing.to(device)
    return model


def folder_name(folder: Path) -> str:
    """What ``load`` takes for the model in ``folder``, whatever the folder is called."""
    text = as_argument(folder)
    means_another = _is_published(text) or with_home(text) != text
    return f"./{text}" if means_another else text


def _is_published(name: str) -> bool:
    """Whether ``name`` is that of a published model, of which some are not available here."""
    if name in PACKAGED or name.startswith((HF_HUB, LOCAL_DIR, TRANSFORMERS, ZOO)):
        return True
    try:
        open_clip_model.split_name(name)
    except RequestError:
        return False
    return True


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
    """Refuse NaN and infinite weights: their logits are NaN, which no attack changes."""
    for name, tensor in model.encoder.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise RequestError(
                f"model {model.name}: {name} of its image encoder holds nan or infinite weights: "
                "repeat the run that made them, with a lower learning rate"
            )
