"""A folder of class folders as a demonstration takes it: what is trained on, and what is not."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from zsrobust.data.image_folder import LAYOUT, image_folder
from zsrobust.data.image_set import ImageSet
from zsrobust.data.split import hold_out
from zsrobust.demo.plan import Plan
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_folder

TESTED = 0.3
"""Share of the images of the classes trained on that are held out for the evaluation."""
SEED = 0
SPLITS = "photographs"


@dataclass(frozen=True)
class Parts:
    """The photographs in parts, each a set of (class folder, image path) by path below the root.

    Attributes:
        train: fine-tuned on.
        test: other images of the same classes.
        unseen: all images of the other classes; empty where there are fewer than four classes.
    """

    train: list[str]
    test: list[str]
    unseen: list[str]


def planned(plan: Plan, folder: Path, out: Path) -> Plan:
    """``plan`` on the photographs in ``folder``; links to them are laid out below ``out``.

    Half of the classes are fine-tuned on, the others are what zero-shot robustness is about; of
    the first half some images are held out for the evaluation.

    Raises:
        RequestError: if the folder holds no two class folders of at least two images each.
    """
    images = checked(folder)
    parts = split(images)
    try:
        with atomic_folder(out / SPLITS) as unfinished:
            for name in ("train", "test", "unseen"):
                _link(getattr(parts, name), folder, unfinished / _PLACES[name])
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    tested = ["test"] + (["unseen"] if parts.unseen else [])
    held_out = max(1, round(plan.hold_out * len(parts.train)))
    return replace(
        plan,
        train=f"imagefolder:{out / SPLITS / _PLACES['train']},name=photographs",
        data=tuple(
            f"imagefolder:{out / SPLITS / _PLACES[name]},name={_NAMES[name]}" for name in tested
        ),
        hold_out=held_out / len(parts.train),
        batch_size=min(plan.batch_size, len(parts.train) - held_out),
    )


# The evaluator knows images of one place as seen: ``train`` and ``test`` lie side by side.
_PLACES = {"train": "seen/train", "test": "seen/test", "unseen": "unseen"}
_NAMES = {"test": "trained-classes", "unseen": "unseen-classes"}


def checked(folder: Path) -> ImageSet:
    """The photographs, if they can be trained on and tested.

    Raises:
        RequestError: if not, with the folder at fault.
    """
    if not folder.is_dir():
        raise RequestError(f"--photos {folder} is no folder: it must hold {LAYOUT}")
    images = image_folder(folder)
    for label, name in enumerate(images.class_names):
        if images.labels.count(label) < 2:
            place = folder / images.sample_ids[images.labels.index(label)].split("/")[0]
            raise RequestError(
                f"the class folder {place} ({name}) holds one image: put at least two there, one "
                "to train on and one to test"
            )
    return images


def split(images: ImageSet) -> Parts:
    """Classes in two halves by their order, and the images of the first in two parts by seed."""
    classes = len(images.class_names)
    # Zero-shot needs two classes to choose from.
    trained = classes if classes < 4 else (classes + 1) // 2
    at = [index for index, label in enumerate(images.labels) if label < trained]
    others = [index for index, label in enumerate(images.labels) if label >= trained]
    train: list[str] = []
    test: list[str] = []
    for label in range(trained):
        of_class = images.subset([index for index in at if images.labels[index] == label])
        share = min(max(TESTED, 1 / len(of_class)), 0.5)
        trained_on, tested = hold_out(of_class, share, SEED)
        train += trained_on.sample_ids
        test += tested.sample_ids
    return Parts(train, test, [images.sample_ids[index] for index in others])


def _link(paths: Iterable[str], source: Path, target: Path) -> None:
    for path in paths:
        link = target / path
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            link.symlink_to((source / path).resolve())
        except OSError:
            # Windows allows links to some users only.
            shutil.copy2(source / path, link)
