"""The sixteen sets of the paper in miniature: all classes and splits, a few synthetic images each.

The files have the names and formats of the published archives, so that whatever reads, verifies or
evaluates a published set can be tried without one. An image is a grey level of its label below a
faint pattern.
"""

from __future__ import annotations

import functools
import io
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zsrobust.data.names import published_spellings, tiny_imagenet_names, wordnet_ids
from zsrobust.data.published.sets import MINIATURE, published_sets
from zsrobust.utils.extras import require_installed

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Samples = list[tuple[int, int]]

PHOTO, TINY = (48, 40), (64, 64)
"""Width and height in pixels of a photograph, and of an image of TinyImageNet."""
_AMPLITUDE = 9
_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CATS = """\
Abyssinian Bengal Birman Bombay British_Shorthair Egyptian_Mau Maine_Coon Persian Ragdoll
Russian_Blue Siamese Sphynx"""
_CIFAR100 = """\
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm"""


def write_miniature(kind: str, root: Path, per_class: int = 1) -> Path:
    """Write a set of the paper into ``root/<kind>``, as ``zsrobust data prepare`` leaves it.

    Args:
        kind: one of the sixteen.
        root: where the sets lie.
        per_class: images of each class in each split; of ImageNet only ``val`` is written.

    Returns:
        The set's own folder.

    Raises:
        RequestError: if a library that the set's format needs is not installed.
    """
    base = root / kind / published_sets()[kind].places[0]
    files = _Files(base, per_class)
    _WRITERS[kind](files)
    files.write(MINIATURE, "Synthetic images in miniature, for rehearsals.\n")
    return base


def pixels(label: int, number: int, size: tuple[int, int]) -> Pixels:
    """An image (H, W, 3) of ``size``, width and height.

    Its mean is the grey level of its label, :func:`level_of`; ``number`` tells images of one label
    apart.
    """
    width, height = size
    noise = np.random.default_rng(number).integers(
        -_AMPLITUDE, _AMPLITUDE + 1, (height, width, 3), dtype=np.int16
    )
    return (level_of(label) + noise).astype(np.uint8)


def level_of(label: int) -> int:
    """The grey level of a label's images, in [20, 230]."""
    return 20 + label % 211


def encoded(label: int, number: int = 0, size: tuple[int, int] = PHOTO) -> bytes:
    """:func:`pixels` as JPEG."""
    return _encoded(level_of(label) - 20, number, size)


@functools.cache
def _encoded(label: int, number: int, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(label, number, size)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@contextmanager
def taken_for_published(root: Path) -> Iterator[None]:
    """Within the block torchvision takes the files of the miniature sets for the published ones.

    It compares checksums whenever it opens CIFAR, STL-10 or Flowers. Here those that the sets in
    ``root`` have stand for the published ones, and any other file is refused as before.
    """
    from torchvision.datasets import utils

    calculate = utils.calculate_md5
    known = {
        (name, calculate(file)): published
        for kind, checked in _checked().items()
        for name, published in checked.items()
        if (file := root / kind / published_sets()[kind].places[0] / name).is_file()
    }

    def as_published(path: str | Path, *args: Any) -> str:
        found: str = calculate(path, *args)
        return known.get((Path(path).name, found), found)

    utils.calculate_md5 = as_published
    try:
        yield
    finally:
        utils.calculate_md5 = calculate


def _checked() -> dict[str, dict[str, str]]:
    """The published MD5 of every file that is compared at each opening, by set and name."""
    from torchvision import datasets

    flowers = datasets.Flowers102._file_dict
    checked = {"flowers102": dict(flowers[key] for key in ("label", "setid"))}
    for stored in (datasets.CIFAR10, datasets.CIFAR100, datasets.STL10):
        meta = getattr(stored, "meta", None)
        lists = [*stored.train_list, *stored.test_list]
        lists += [[meta["filename"], meta["md5"]]] if meta else []
        checked[stored.__name__.lower()] = dict(lists)
    return checked


@dataclass(frozen=True)
class _Files:
    """The files of one set.

    Attributes:
        base: the set's own folder.
        per_class: images of each class in each split.
    """

    base: Path
    per_class: int

    def write(self, path: str, content: bytes | str) -> None:
        file = self.base / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def lines(self, path: str, lines: list[str]) -> None:
        self.write(path, "".join(f"{line}\n" for line in lines))

    def image(self, path: str, label: int, number: int, size: tuple[int, int] = PHOTO) -> None:
        self.write(path, encoded(label, number, size))

    def samples(self, classes: int, split: int = 0) -> Samples:
        """Label and number of every image of a split; labels are not in order, as in the files."""
        numbers = range(split * self.per_class, (split + 1) * self.per_class)
        return [(label, number) for number in numbers for label in reversed(range(classes))]

    def class_folders(self, folders: list[str], path: str) -> None:
        """One folder a class; ``path`` of an image takes its folder, label and number from 1."""
        for label, number in self.samples(len(folders)):
            name = path.format(folder=folders[label], label=label + 1, number=number + 1)
            self.image(name, label, number)


def _tiny_imagenet(files: _Files) -> None:
    wnids = sorted(tiny_imagenet_names())
    files.lines("wnids.txt", wnids[::-1])
    boxes: dict[str, list[str]] = {wnid: [] for wnid in wnids}
    for label, number in files.samples(len(wnids)):
        name = f"{wnids[label]}_{number}.JPEG"
        files.image(f"train/{wnids[label]}/images/{name}", label, number, TINY)
        boxes[wnids[label]].append(f"{name}\t0\t0\t62\t62")
    for wnid, lines in boxes.items():
        files.lines(f"train/{wnid}/{wnid}_boxes.txt", lines)
    rows = []
    for row, (label, number) in enumerate(files.samples(len(wnids), split=1)):
        files.image(f"val/images/val_{row}.JPEG", label, number, TINY)
        rows.append(f"val_{row}.JPEG\t{wnids[label]}\t0\t32\t44\t62")
    files.lines("val/val_annotations.txt", rows)


def _imagenet(files: _Files) -> None:
    wnids = wordnet_ids("imagenet")
    for row, (label, number) in enumerate(files.samples(len(wnids)), start=1):
        files.image(f"val/{wnids[label]}/ILSVRC2012_val_{row:08d}.JPEG", label, number)


def _cifar10(files: _Files) -> None:
    names = _CIFAR10.split()
    train = files.samples(len(names))
    for batch in range(5):
        _cifar_batch(files, f"data_batch_{batch + 1}", train[batch::5], ("labels",))
    _cifar_batch(files, "test_batch", files.samples(len(names), split=1), ("labels",))
    files.write("batches.meta", pickle.dumps({"label_names": names, "num_vis": 3072}, 2))


def _cifar100(files: _Files) -> None:
    names = _CIFAR100.split()
    for split, name in enumerate(("train", "test")):
        _cifar_batch(
            files, name, files.samples(len(names), split), ("fine_labels", "coarse_labels")
        )
    files.write("meta", pickle.dumps({"fine_label_names": names}, 2))


def _cifar_batch(files: _Files, name: str, samples: Samples, keys: tuple[str, ...]) -> None:
    """Images as rows of 3072 bytes, the red plane first."""
    planes = [pixels(*one, (32, 32)).transpose(2, 0, 1).reshape(-1) for one in samples]
    labels = [label for label, _ in samples]
    batch = {"batch_label": name, "data": np.array(planes, np.uint8).reshape(-1, 3072)}
    files.write(name, pickle.dumps({**batch, **dict.fromkeys(keys, labels)}, 2))


def _stl10(files: _Files) -> None:
    """Planes of 96 x 96 bytes, red first, each column by column; labels from 1."""
    names = published_spellings("stl10")
    files.lines("class_names.txt", list(names))
    for split, name in enumerate(("train", "test", "unlabeled")):
        samples = files.samples(len(names), split)
        planes = [pixels(*one, (96, 96)).transpose(2, 1, 0).tobytes() for one in samples]
        files.write(f"{name}_X.bin", b"".join(planes))
        if name != "unlabeled":
            files.write(f"{name}_y.bin", bytes(label + 1 for label, _ in samples))


def _sun397(files: _Files) -> None:
    folders = []
    for spelling in published_spellings("sun397"):
        words, _, last = spelling.rpartition(" ")
        inner = last in ("indoor", "outdoor", "interior", "exterior")
        folder = f"{words.replace(' ', '_')}/{last}" if inner else spelling.replace(" ", "_")
        folders.append(f"{spelling[0]}/{folder}")
    files.lines("ClassName.txt", [f"/{folder}" for folder in folders])
    files.class_folders(folders, "{folder}/sun_{number}abc.jpg")


def _food101(files: _Files) -> None:
    folders = sorted(published_spellings("food101"))
    for split, name in enumerate(("train", "test")):
        listed: dict[str, list[str]] = {folder: [] for folder in reversed(folders)}
        for label, number in files.samples(len(folders), split):
            path = f"{folders[label]}/{1000 + number}"
            files.image(f"images/{path}.jpg", label, number)
            listed[folders[label]].append(path)
        files.write(f"meta/{name}.json", json.dumps(listed))


def _oxford_pets(files: _Files) -> None:
    breeds = published_spellings("oxford-pets")
    cats = set(_CATS.split())
    for split, name in enumerate(("trainval", "test")):
        lines = []
        for label, number in files.samples(len(breeds), split):
            cat = breeds[label] in cats
            # Files of dogs have small letters.
            image = f"{breeds[label] if cat else breeds[label].lower()}_{100 + number}"
            files.image(f"images/{image}.jpg", label, number)
            # Class, species, and the breed among those of the species.
            lines.append(f"{image} {label + 1} {1 if cat else 2} 1")
        files.lines(f"annotations/{name}.txt", lines)


def _flowers102(files: _Files) -> None:
    from scipy.io import savemat

    classes = len(published_spellings("flowers102"))
    labels: list[int] = []
    ids: dict[str, list[int]] = {}
    for split, name in enumerate(("trnid", "valid", "tstid")):
        samples = files.samples(classes, split)
        ids[name] = [len(labels) + row for row in range(1, len(samples) + 1)]
        labels += [label + 1 for label, _ in samples]
        for row, (label, number) in zip(ids[name], samples, strict=True):
            files.image(f"jpg/image_{row:05d}.jpg", label, number)
    # MATLAB stores lists as rows.
    savemat(files.base / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    rows = {name: np.array([numbers], np.uint16) for name, numbers in ids.items()}
    savemat(files.base / "setid.mat", rows)


def _dtd(files: _Files) -> None:
    folders = sorted(published_spellings("dtd"))
    for split, name in enumerate(("train", "val", "test")):
        samples = files.samples(len(folders), split)
        paths = [f"{folders[label]}/{folders[label]}_{number:04d}.jpg" for label, number in samples]
        for path, one in zip(paths, samples, strict=True):
            files.image(f"dtd/images/{path}", *one)
        files.lines(f"dtd/labels/{name}1.txt", paths)


def _fgvc_aircraft(files: _Files) -> None:
    variants = published_spellings("fgvc-aircraft")
    files.lines("data/variants.txt", list(variants))
    of: dict[str, list[str]] = {}
    for split, name in enumerate(("train", "val", "test")):
        samples = files.samples(len(variants), split)
        of[name] = []
        for row, (label, number) in enumerate(samples, start=1000000 * (split + 1)):
            files.image(f"data/images/{row}.jpg", label, number)
            of[name].append(f"{row} {variants[label]}")
    for name, lines in {**of, "trainval": of["train"] + of["val"]}.items():
        files.lines(f"data/images_variant_{name}.txt", lines)


def _eurosat(files: _Files) -> None:
    files.class_folders(sorted(published_spellings("eurosat")), "{folder}/{folder}_{number}.jpg")


def _caltech101(files: _Files) -> None:
    folders = sorted(published_spellings("caltech101"))
    files.class_folders(folders, "{folder}/image_{number:04d}.jpg")
    # No class, and in it a file that is no image.
    files.image("BACKGROUND_Google/image_0001.jpg", 0, 0)
    files.write("BACKGROUND_Google/tmp", "")


def _caltech256(files: _Files) -> None:
    folders = sorted(published_spellings("caltech256"))
    files.class_folders(folders, "{folder}/{label:03d}_{number:04d}.jpg")
    # Two leftovers of the published archive that are no images.
    files.write("198.spider/RENAME2", "#!/bin/sh\n")
    (files.base / "056.dog/greg/vision309").mkdir(parents=True)


def _stanford_cars(files: _Files) -> None:
    from scipy.io import savemat

    names = published_spellings("stanford-cars")
    (files.base / "devkit").mkdir(parents=True)
    meta = {"class_names": np.array(names, object)}
    savemat(files.base / "devkit/cars_meta.mat", meta)
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    annotations = ("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")
    for split, name in enumerate(annotations):
        rows = []
        for row, (label, number) in enumerate(files.samples(len(names), split), start=1):
            files.image(f"cars_{'test' if split else 'train'}/{row:05d}.jpg", label, number)
            rows.append((1, 1, *PHOTO, label + 1, f"{row:05d}.jpg"))
        table = np.array([rows], [(field, object) for field in fields])
        savemat(files.base / name, {"annotations": table})


def _pcam(files: _Files) -> None:
    require_installed("pcam", "h5py")
    import h5py

    files.base.mkdir(parents=True)
    for split, name in enumerate(("train", "valid", "test")):
        samples = files.samples(2, split)
        images = np.array([pixels(*one, (96, 96)) for one in samples])
        labels = np.array([label for label, _ in samples], np.uint8).reshape(-1, 1, 1, 1)
        for part, array in (("x", images), ("y", labels)):
            path = files.base / f"camelyonpatch_level_2_split_{name}_{part}.h5"
            with h5py.File(path, "w") as file:
                file[part] = array


_WRITERS: dict[str, Callable[[_Files], None]] = {
    "tiny-imagenet": _tiny_imagenet,
    "imagenet": _imagenet,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "stl10": _stl10,
    "sun397": _sun397,
    "food101": _food101,
    "oxford-pets": _oxford_pets,
    "flowers102": _flowers102,
    "dtd": _dtd,
    "eurosat": _eurosat,
    "fgvc-aircraft": _fgvc_aircraft,
    "caltech101": _caltech101,
    "caltech256": _caltech256,
    "stanford-cars": _stanford_cars,
    "pcam": _pcam,
}
