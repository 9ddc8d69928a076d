"""Names of models: what loads each, and checks of a name that need no weights.

Nothing here imports torch, so that a wrong name is refused at once.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

from zsrobust.models.card import CARD
from zsrobust.models.name_forms import read_form
from zsrobust.models.robust import ROBUST
from zsrobust.models.zoo import ZOO, entries, entry_of
from zsrobust.utils.errors import RequestError
from zsrobust.utils.extras import require_installed
from zsrobust.utils.files import as_argument, is_folder, local_path, near_folder
from zsrobust.utils.own_code import split_own
from zsrobust.utils.validation import nearest

PHOTO_LITE = "photo-lite"
WITHOUT_TINY_IMAGENET = "photo-lite/without-tiny-imagenet"
LOCAL_DIR, TRANSFORMERS, HF_HUB = "local-dir:", "transformers:", "hf-hub:"
WRITTEN = (
    "ARCH/TAG (as ViT-B-32/openai), ARCH/random, hf-hub:ORG/NAME or local-dir:FOLDER in "
    "open_clip's format, transformers:ORG/NAME or transformers:FOLDER, glyph-clip, "
    "glyph-vit, glyph-clip-robust, photo-lite, photo-lite-robust, zoo:NAME, BASE@FILE for a "
    "checkpoint file, the folder of a fine-tuned model, wise(MODEL, ALPHA), or a defence as "
    "ttc(MODEL)"
)
HUB_NAME = r"[\w-][\w.-]*(/[\w-][\w.-]*)?"
"""A repository's name: the organisation is missing for a few."""
PACKAGED = ("glyph-clip", "glyph-vit", *ROBUST, PHOTO_LITE, WITHOUT_TINY_IMAGENET)


LOADERS = {
    "glyph-clip": "zsrobust.models.glyph_clip:load",
    "glyph-vit": "zsrobust.models.glyph_vit:load",
    "photo-lite": "zsrobust.models.photo_lite:load",
    "hf-hub": "zsrobust.models.open_clip_model:load_hub",
    "local-dir": "zsrobust.models.open_clip_model:load_local",
    "transformers": "zsrobust.models.transformers_clip:load_transformers",
}
"""Functions from a name to its model, by the name's part before ``:`` or ``/``.

Other names are ARCH/TAG of open_clip. Written as text, since loaders import torch.
"""

DEFENCES = tuple(
    module.name
    for module in iter_modules([str(Path(__file__).parent / "defences")])
    if module.name not in ("base", "own")
)
"""Words of test-time defences, one a file."""

OWN_DEFENCE = "zsrobust.models.defences.own:load_own_defence"
FORMS = {
    "wise": "zsrobust.models.interpolation:load_wise",
    **dict.fromkeys(DEFENCES, "zsrobust.models.defences.base:load_defended"),
}
"""Functions from a :class:`Form` and a loader to a model made from models, by the form's word.

``OWN_DEFENCE`` is that of ``FILE.py:NAME(MODEL)``, a defence of the user's own.
"""


def check_name(name: str) -> None:
    """Refuse a name of no model; tags of open_clip, and what folders and files hold, come later.

    Raises:
        RequestError: if a folder or file that it names is not there or no model, or it is unknown.
    """
    name = with_home(name)
    in_folder = is_folder(name)
    form = None if in_folder else read_form(name)
    if form and (form.word in FORMS or split_own(form.word)):
        check_name(form.arguments[0])
    elif name.startswith(ZOO):
        entry_of(name)
    elif is_foreign(name):
        base, _, file = name.partition("@")
        if not is_remote(file) and not Path(file).is_file():
            raise RequestError(f"model {name!r}: there is no file {file}")
        check_name(base)
    elif name.startswith(LOCAL_DIR):
        require_local_dir(name)
    elif name.startswith(TRANSFORMERS):
        if folder := transformers_folder(name):
            require_clip(name, folder / "config.json")
    elif loader_word(name) in LOADERS or name in ROBUST or _is_of_open_clip(name):
        return
    elif in_folder:
        model_folder(Path(name))
    else:
        raise unknown_model(name)


def loader_word(name: str) -> str:
    """What ``LOADERS`` knows the loader of ``name`` by."""
    return re.split("[:/]", name)[0]


def is_foreign(name: str) -> bool:
    """Whether ``name`` is ``BASE@FILE``; a folder's own name may hold an @ too."""
    return "@" in name and not Path(split_scheme(name)[1]).is_dir()


def is_remote(file: str) -> bool:
    """Whether FILE of ``BASE@FILE`` is on the hub, ``hf-hub:ORG/NAME/FILE``, or an address."""
    return file.startswith((HF_HUB, "http://", "https://"))


def short_names(models: Sequence[str]) -> dict[str, str]:
    """The last part of each model's path or name where that tells them apart, else all of it."""
    paths = {model: Path(split_scheme(model)[1]) for model in models}
    last = {model: path.name for model, path in paths.items() if path.exists()}
    names = {model: last.get(model, model) for model in models}
    return (
        names if len(set(names.values())) == len(models) else dict(zip(models, models, strict=True))
    )


def split_scheme(name: str) -> tuple[str, str]:
    """What stands before a folder's path, such as ``local-dir:`` or nothing, and the rest."""
    scheme = next((known for known in (LOCAL_DIR, TRANSFORMERS) if name.startswith(known)), "")
    return scheme, name.removeprefix(scheme)


def require_local_dir(name: str) -> Path:
    """The folder of ``local-dir:FOLDER``.

    Raises:
        RequestError: if it is not there.
    """
    folder = Path(name.removeprefix(LOCAL_DIR))
    if not folder.is_dir():
        raise RequestError(f"{name}: there is no folder {folder}")
    return folder


def transformers_folder(name: str) -> Path | None:
    """The folder of ``transformers:FOLDER``; None for ``transformers:ORG/NAME``, on the hub.

    Raises:
        RequestError: if it is neither, or transformers is not installed.
    """
    place = name.removeprefix(TRANSFORMERS)
    if is_folder(place):
        require_installed("transformers", "transformers")
        return Path(place)
    if not re.fullmatch(HUB_NAME, place):
        raise RequestError(f"{name}: there is no folder {place}, and it is no hub name ORG/NAME")
    require_installed("transformers", "transformers")
    return None


def require_clip(name: str, config: Path) -> None:
    """Refuse a model of transformers that is no CLIP, by its ``config.json``.

    Raises:
        RequestError: naming what it is.
    """
    try:
        kind = json.loads(config.read_text("utf-8")).get("model_type")
    except FileNotFoundError:
        raise RequestError(
            f"{name}: the folder has no config.json, as CLIPModel.save_pretrained writes it"
        ) from None
    except (OSError, ValueError, AttributeError) as reason:
        raise RequestError(f"{name}: config.json is damaged: {reason}") from None
    if kind != "clip":
        siglip = "; open_clip has SigLIP, as ViT-B-16-SigLIP/webli" if "siglip" in str(kind) else ""
        raise RequestError(
            f"{name} is a model of type {kind}, and of transformers only clip (CLIPModel) is "
            f"supported{siglip}"
        )


def unknown_model(name: str) -> RequestError:
    """The error for a name that is nothing at all."""
    if re.search("[()]", name):
        return RequestError(
            f"model {name!r} is unknown, neither a folder nor wise(MODEL, ALPHA) or a defence, "
            f"WORD(MODEL, KEY=VALUE) with WORD of {', '.join(sorted(DEFENCES))} or FILE.py:NAME; "
            "transfer(ATTACK, MODEL) is an attack"
        )
    if split_own(name):
        return RequestError(f"model {name!r} names no model: write {name}(MODEL)")
    if Path(name).is_file():
        return RequestError(
            f"model {name!r} is a file: write BASE@{name}, where BASE is a model of the same "
            "architecture (ViT-B-32/openai, local-dir:FOLDER)"
        )
    architecture, tag = architecture_of(name), name.rpartition("/")[2]
    near = f"{ZOO}{name}" if f"{ZOO}{name}" in entries() else nearest(name, PACKAGED)
    if not near and (near := nearest(architecture or name, architectures())) and architecture:
        near += f"/{tag}"
    if near:
        return RequestError(f"there is no model {name!r}: did you mean {near}?")
    if (folder := local_path(name)).parent != Path() and is_folder(str(folder.parent)):
        return RequestError(f"model {name!r}: there is no folder {folder}{near_folder(folder)}")
    hint = ""
    if re.fullmatch(HUB_NAME, name) and "/" in name:
        hint = f"; on the Hugging Face hub it would be {TRANSFORMERS}{name} or hf-hub:{name}"
    return RequestError(
        f"model {name!r} is unknown, neither a folder nor an architecture of open_clip{hint}: "
        f"write {WRITTEN}"
    )


def architecture_of(name: str) -> str:
    """ARCH of ``ARCH/TAG``, as open_clip writes it; empty if there is none."""
    return name.rpartition("/")[0].replace("/", "-")


def architectures() -> list[str]:
    """Those of open_clip; from its files while it is not imported, since that imports torch."""
    if "open_clip" in sys.modules:
        import open_clip

        return list(open_clip.list_models())
    found = find_spec("open_clip")
    assert found is not None
    assert found.origin is not None
    return sorted(file.stem for file in Path(found.origin).parent.glob("model_configs/*.json"))


def _is_of_open_clip(name: str) -> bool:
    known = architectures()
    return name in known or architecture_of(name) in known


def model_folder(folder: Path) -> Path:
    """The folder with the card of the model in ``folder``, which may be that of a run.

    Raises:
        RequestError: if it holds none.
    """
    for candidate in (folder, folder / "model"):
        if (candidate / CARD).is_file():
            return candidate
    if (folder / "checkpoints").is_dir():
        raise RequestError(
            f"run {folder} holds no model yet, because it ended before its first evaluation on "
            f"held-out images; it resumes with: {resuming_command(folder)}"
        )
    if (folder / "config.json").is_file():
        raise RequestError(
            f"folder {folder} holds no model of this package: a folder of transformers is "
            f"{TRANSFORMERS}{folder}"
        )
    raise RequestError(
        f"folder {folder} holds no model, neither {CARD} nor model/{CARD}: if it is a run's, "
        "the run has not finished; a folder in open_clip's format is local-dir:FOLDER"
    )


def resuming_command(run: Path) -> str:
    """The command that resumes a fine-tuning in the folder ``run``."""
    out = as_argument(run)
    return shlex.join(["zsrobust", "finetune", "--config", f"{out}/config.yaml", "--out", out])


def with_home(name: str) -> str:
    """``name`` with the home folder for ``~`` wherever a path begins."""
    scheme, rest = split_scheme(name)
    base, at, file = rest.partition("@")
    base, file = (str(local_path(t)) if t.startswith("~") else t for t in (base, file))
    return f"{scheme}{base}{at}{file}"
