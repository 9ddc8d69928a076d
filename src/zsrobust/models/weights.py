"""Our model folder: the image encoder's tensors in safetensors, everything else in JSON."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from zsrobust._version import __version__
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.card import CARD, RECORD, SCHEMA, TENSORS, TEXT, read_card
from zsrobust.models.clip import CLIPModel
from zsrobust.models.low_rank import merged
from zsrobust.models.text_side import TowerText
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_folder, sha256_of, write_text


def save_model(folder: Path, model: CLIPModel, method: str, **extra: object) -> None:
    """Write ``model``'s image encoder to ``folder``, whole or not at all, replacing what is there.

    ``model.safetensors`` holds every tensor of the encoder, LoRA merged into the weights, and
    those of a visual prompt, which cannot be. ``model.json`` holds ``schema``, ``source`` (the
    pre-trained model, which gives text side and architecture), ``adapter`` (kind and options),
    ``preprocessing``, ``recipe``, ``loader_resize``, ``templates``, ``logit_scale``, ``text``
    (fingerprint of the text side), ``seen``, ``method``, ``sha256`` of the tensors' file,
    ``package`` and ``extra``. ``text.safetensors`` holds the text tower where it was fine-tuned.

    Args:
        folder: where to; its parents are made.
        model: what to save.
        method: how the weights came about, such as ``pmg_aft``.
        extra: further JSON values for ``model.json``.
    """
    # Clones, because safetensors takes neither tied nor strided tensors.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in merged(model.encoder).items()
    }
    with atomic_folder(folder) as unfinished:
        save_file(tensors, unfinished / TENSORS)
        if isinstance(model.text, TowerText) and model.text.tuned:
            text = {name: value.clone() for name, value in model.text.model.state_dict().items()}
            save_file(text, unfinished / TEXT)
        card = {
            **extra,
            "schema": SCHEMA,
            "source": model.source,
            "adapter": {"kind": model.adapter.kind, **model.adapter.options},
            "preprocessing": model.preprocessing.protocol,
            "recipe": model.recipe,
            "loader_resize": model.loader_resize,
            "templates": list(model.default_templates),
            "logit_scale": model.logit_scale,
            "text": model.text.fingerprint,
            "seen": sorted(model.seen),
            "method": method,
            "sha256": sha256_of(unfinished / TENSORS),
            "package": __version__,
        }
        (unfinished / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def mark_finished(folder: Path) -> None:
    """Note in a model's card that the run that made it took its last step.

    Raises:
        RequestError: if the card is missing or damaged.
    """
    card = read_card(folder / CARD)
    if not card.get("finished"):
        write_text(folder / CARD, json.dumps({**card, "finished": True}, indent=2) + "\n")


def load_model_folder(
    folder: Path, load: Callable[[str], CLIPModel], preprocessing: str | None = None
) -> CLIPModel:
    """The model in ``folder``: its source, loaded by ``load``, with the folder's encoder weights.

    Where the folder's model has a visual prompt, it is around the source's tower again.
    ``preprocessing`` replaces the protocol the folder names.

    Raises:
        RequestError: if a file is missing or damaged, or the weights do not fit the source.
    """
    card = read_card(folder / CARD)
    path = folder / TENSORS
    try:
        if sha256_of(path) != card["sha256"]:
            raise RequestError(
                f"{path} is damaged: its sha256 differs from that in {CARD}; "
                "copy it again or repeat the run"
            )
        tensors = load_file(path)
    except (OSError, SafetensorError) as reason:
        raise RequestError(f"{path} cannot be read: {reason}") from reason
    model = load(card["source"])
    if (folder / TEXT).is_file():
        model = replace(model, text=_tuned_text(folder / TEXT, model))
    if model.text.fingerprint != card["text"]:
        raise RequestError(
            f"{folder} was fine-tuned with another text side than {card['source']} has here: "
            "restore the one it was made with, or repeat the run"
        )
    adapter = _adapter(folder, card)
    if adapter.made.keeps_prompt:
        model = replace(model, encoder=model.adapted_encoder(adapter.made, seed=0))
    try:
        model.encoder.load_state_dict(tensors)
    except RuntimeError as reason:
        details = textwrap.shorten(str(reason), 300)
        raise RequestError(f"{path} does not fit {card['source']}: {details}") from reason
    return replace(
        model,
        name=str(folder),
        adapter=adapter,
        seen=frozenset(card["seen"]),
        method=card["method"],
        recipe=card["recipe"],
        loader_resize=card["loader_resize"],
        default_templates=tuple(card["templates"]),
        logit_scale=float(card["logit_scale"]),
        record={key: card[key] for key in RECORD if key in card},
        preprocessing=model.preprocessing.with_protocol(preprocessing or card["preprocessing"]),
    )


def _tuned_text(path: Path, model: CLIPModel) -> TowerText:
    """The text side of ``model`` with the weights in ``path``."""
    if not isinstance(model.text, TowerText):
        raise RequestError(f"{path} does not fit {model.name}, whose text side has no weights")
    try:
        return model.text.with_weights(load_file(path), tuned=True)
    except (OSError, SafetensorError, RuntimeError) as reason:
        details = textwrap.shorten(str(reason), 300)
        raise RequestError(f"{path} is damaged or does not fit {model.name}: {details}") from reason


def _adapter(folder: Path, card: dict[str, Any]) -> Adapter:
    """What was trained; cards of runs before there was a choice do not say."""
    try:
        return Adapter(**card.get("adapter", {}))
    except (RequestError, TypeError) as reason:
        raise RequestError(f"{folder / CARD} is damaged: 'adapter' is wrong: {reason}") from reason


def fingerprint(module: nn.Module) -> str:
    """The first 16 hex digits of a SHA-256 over names, types, shapes and bytes of every tensor.

    Equal for equal weights wherever they lie; any changed bit of any tensor changes it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()[:16]
