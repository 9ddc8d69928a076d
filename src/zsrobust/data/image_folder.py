"""A folder of class folders, as torchvision's ImageFolder reads it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from zsrobust.data.class_folders import count_by_suffix, folder_notes, is_generic, refuse_too_high
from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import clean_name, read_names, spelling
from zsrobust.data.names.codes import code_notes
from zsrobust.data.readers import (
    IMAGE_SUFFIXES,
    FileReader,
    Found,
    found_below,
    sort_files,
    subfolders,
)
from zsrobust.utils.errors import RequestError

LAYOUT = "one folder of images a class, PATH/<class>/**/*.jpg"


def image_folder(root: Path, names: Path | None = None) -> ImageSet:
    """The images below ``root``, one class a folder, classes in sorted order; split ``all``.

    Class names are the cleaned folder names, or come from the class-name file ``names``, joined
    to folders as ``read_names`` does. The set is named after its folder; a folder with a name that
    says little, such as ``test``, adds its parent's: ``cifar10/test`` is ``cifar10-test``. Notes
    count the files that are left out.

    Raises:
        RequestError: if there are no class folders or no images, a class folder is empty, there is
            one class alone, the folders look like splits and not classes, two classes have one
            name, or all names are codes (``code_notes``).
    """
    folders = subfolders(root)
    entries = [entry for entry in root.iterdir() if entry.name[0] != "."]
    lost = sorted(entry.name for entry in entries if not entry.exists())
    if lost:
        raise RequestError(
            f"{len(lost)} links in {root} lead nowhere ({_some(lost)}): mend or remove them"
        )
    loose = sort_files(entry.name for entry in entries if entry.is_file())
    if not folders:
        raise RequestError(_without_folders(root, loose))
    found = {folder: found_below(root, folder) for folder in folders}
    others = sum((found[folder].others for folder in folders), Counter[str]())
    filled = {folder: found[folder].images for folder in folders if found[folder].images}
    if not filled:
        suffixes = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        there = f", and found {count_by_suffix(others)}" if others else ""
        raise RequestError(
            f"{root} holds no image in any class folder: expected files {suffixes}{there}"
        )
    empty = [folder for folder in folders if folder not in filled]
    refuse_too_high(root, filled, empty)
    if empty:
        unread = sum((found[folder].others for folder in empty), Counter[str]())
        there = f", but files that are not read ({count_by_suffix(unread)})" if unread else ""
        raise RequestError(
            f"{len(empty)} class folders of {root} hold no images ({_some(empty)}){there}: "
            f"{'convert those to JPEG or PNG, or ' if unread else ''}fill or remove the folders"
        )
    notes: list[str] = []
    class_names = read_names(names, folders, notes.append) if names else _cleaned(root, folders)
    notes += code_notes(class_names, str(names or root), chosen=names is not None)
    samples = [(path, label) for label, folder in enumerate(folders) for path in filled[folder]]
    sample_ids = tuple(path for path, _ in samples)
    name = _result_name(root)
    return ImageSet(
        name=name,
        split="all",
        class_names=class_names,
        sample_ids=sample_ids,
        labels=tuple(label for _, label in samples),
        read_image=FileReader(root, sample_ids),
        root=root,
        origin=str(_place(root)),
        notes=(*notes, *folder_notes(name, root, filled, others, len(loose.images))),
    )


def _without_folders(root: Path, loose: Found) -> str:
    if not loose.images:
        return f"{root} holds no class folders: expected {LAYOUT}"
    return (
        f"{root} holds no class folders, only images: expected {LAYOUT}; if it is itself the "
        f"folder of one class, give the folder above, {root.absolute().parent}"
    )


def _cleaned(root: Path, folders: list[str]) -> tuple[str, ...]:
    folder_of: dict[str, str] = {}
    for folder in folders:
        name = clean_name(folder)
        if not name:
            raise RequestError(
                f"the folder {folder!r} of {root} gives no class name: give a names=FILE"
            )
        earlier = folder_of.setdefault(spelling(folder), folder)
        if earlier != folder:
            raise RequestError(
                f"the folders {earlier!r} and {folder!r} of {root} both give the class name "
                f"{name!r}: tell them apart with a class-name file, names=FILE"
            )
    return tuple(map(clean_name, folders))


def _result_name(root: Path) -> str:
    root = root.resolve() if ".." in root.parts else root.absolute()
    parent = root.parent.name
    return f"{parent}-{root.name}" if is_generic(root.name) and parent else root.name


def _place(root: Path) -> Path:
    """Where the set lies; the splits ``birds/train`` and ``birds/val`` are of one place."""
    root = root.resolve()
    return root.parent if is_generic(root.name) else root


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
