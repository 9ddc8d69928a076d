"""Photographs that come with scikit-learn and scikit-image, before and after an attack.

They are read from the installed packages as files, so that nothing is ever downloaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import FileReader
from zsrobust.utils.errors import RequestError

PHOTOGRAPHS = {
    "skimage/data/chelsea.png": "cat",
    "skimage/data/astronaut.png": "astronaut",
    "skimage/data/rocket.jpg": "rocket",
    "skimage/data/coffee.png": "cup of coffee",
    "skimage/data/coins.png": "coins",
    "skimage/data/motorcycle_left.png": "motorcycle",
    "sklearn/datasets/images/flower.jpg": "flower",
    "sklearn/datasets/images/china.jpg": "palace",
}
"""Files below the folder of installed packages, and what they show."""

OTHERS = (
    *("dog", "horse", "bird", "car", "bicycle", "airplane", "ship", "tree", "mountain", "beach"),
    *("chair", "piano", "pizza", "clock", "book", "bridge"),
)
"""Everyday classes that none of the photographs is of, so that there is something to miss."""

CLASS_NAMES = (*PHOTOGRAPHS.values(), *OTHERS)


def photographs(*, skip_missing: bool = False) -> ImageSet:
    """The photographs, over ``CLASS_NAMES``.

    Args:
        skip_missing: leave out those that are not installed.

    Raises:
        RequestError: if scikit-image is not installed, or the packages no longer hold a file.
    """
    files: dict[str, str] = {}
    for path in PHOTOGRAPHS:
        try:
            files[path] = str(_installed(path))
        except RequestError:
            if not skip_missing:
                raise
    return ImageSet(
        name="photographs",
        split="all",
        class_names=CLASS_NAMES,
        sample_ids=tuple(files),
        labels=tuple(CLASS_NAMES.index(PHOTOGRAPHS[path]) for path in files),
        # An absolute path below any root is itself.
        read_image=FileReader(Path(), list(files.values())),
    )


def _installed(path: str) -> Path:
    package, _, rest = path.partition("/")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise RequestError(
            f'the photographs need the package {package}: pip install "zsrobust[photo]"'
        )
    file = Path(found.origin).parent / rest
    if not file.is_file():
        raise RequestError(
            f"{file} is missing: this release of the package comes without it; name a folder "
            "of your own photographs with --photos DIR"
        )
    return file
