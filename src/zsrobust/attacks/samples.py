"""What every attack asks of the samples it is given, before it moves any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


def require_zero_shot(classifier: object) -> None:
    """Refuse to attack anything else, such as a model without class names.

    Raises:
        RequestError: unless ``classifier`` is a :class:`ZeroShotClassifier`.
    """
    from zsrobust.models.zero_shot import ZeroShotClassifier

    require(
        isinstance(classifier, ZeroShotClassifier),
        "what is attacked",
        type(classifier).__name__,
        "a ZeroShotClassifier: model.classifier(class_names), or of a module to logits "
        "zsrobust.LogitsClassifier(module, class_names)",
    )


def require_samples(
    threat: ThreatModel,
    classifier: ZeroShotClassifier | None,
    images: Tensor,
    labels: Tensor,
    sample_ids: Sequence[str],
) -> None:
    """Refuse samples that an attack would move wrongly or could say nothing of.

    Args:
        threat: whose pixel range the images must lie in.
        classifier: whose classes the labels are; None where that is not known.
        images: must be float32 of shape (N, 3, H, W).
        labels: must be int64 of shape (N,), on the images' device.
        sample_ids: must be N names, each another, since they key the noise.

    Raises:
        RequestError: in one sentence, for the first thing that is not so.
        Diverged: if a pixel is NaN.
    """
    if classifier is not None:
        require_zero_shot(classifier)
    for key, tensor in (("images", images), ("labels", labels)):
        require(isinstance(tensor, Tensor), key, type(tensor).__name__, "a torch.Tensor")
    require(
        images.ndim == 4 and images.shape[1] == 3,
        "the shape of images",
        tuple(images.shape),
        "(N, 3, H, W)",
    )
    require(labels.dtype == torch.int64, "the type of labels", labels.dtype, "torch.int64")
    n = len(images)
    require(
        labels.shape == (n,), "the shape of labels", tuple(labels.shape), f"({n},), one an image"
    )
    require(
        labels.device == images.device, "the device of labels", labels.device, f"{images.device}"
    )
    named = isinstance(sample_ids, Sequence) and all(isinstance(name, str) for name in sample_ids)
    require(named, "sample_ids", sample_ids, "a list of texts")
    require(len(sample_ids) == n, "the number of sample_ids", len(sample_ids), f"{n}, one an image")
    twice = [name for name, count in Counter(sample_ids).items() if count > 1]
    require(not twice, "sample_ids", f"{twice[:1]} twice", "another for each image: they key noise")
    if classifier is not None:
        device = classifier.class_embeddings.device
        require(
            images.device == device, "the device of images", images.device, f"{device}, the model's"
        )
    threat.require_images(images)
    if classifier is not None and n > 0:
        _require_classes(labels, len(classifier.class_names))


def _require_classes(labels: Tensor, classes: int) -> None:
    lowest, highest = torch.stack([labels.amin(), labels.amax()]).tolist()
    require(
        lowest >= 0 and highest < classes,
        "labels",
        f"from {lowest} to {highest}",
        f"0 to {classes - 1}, the places of the {classes} classes",
    )
