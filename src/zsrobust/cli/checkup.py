"""The checks of ``zsrobust doctor``: packages, devices, models, data sets, disk, environment."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from packaging.requirements import Requirement

from zsrobust._version import __version__
from zsrobust.utils.cache import LARGE, cache_folder, cache_limit
from zsrobust.utils.errors import RequestError

State = Literal["ok", "absent", "note", "broken"]
LOW_DISK = 1_000_000_000
VARIABLES = {
    "ZSROBUST_CACHE": "cache of text embeddings, pixels and shards",
    "ZSROBUST_CACHE_GB": "maximum size of cached pixels and shards",
    "ZSROBUST_DATA": "folder of the published data sets",
    "XDG_CACHE_HOME": "folder of caches, if ZSROBUST_CACHE is not set",
    "HF_HOME": "Hugging Face cache",
    "HF_HUB_CACHE": "Hugging Face cache, overrides HF_HOME",
    "HF_HUB_OFFLINE": "use cached files of the hub only",
    "HF_ENDPOINT": "address of the hub",
    "OMP_NUM_THREADS": "CPU threads of torch",
    "CUDA_VISIBLE_DEVICES": "visible GPUs",
    "RANK": "rank of this process",
    "NO_COLOR": "no colours in the terminal",
}
ENABLES = {
    "photo": "the model photo-lite",
    "pcam": "the data set pcam",
    "huggingface": "data of huggingface:FOLDER",
    "remote": "shards behind http addresses",
    "onnx": "zsrobust export --to onnx",
    "transformers": "zsrobust export --to transformers",
    "tensorboard": "zsrobust finetune --trackers tensorboard",
    "ray": "zsrobust sweep --ray",
    "wandb": "zsrobust finetune --trackers wandb",
    "mlflow": "zsrobust finetune --trackers mlflow",
    "serve": "zsrobust serve",
    "docs": "building the documentation's site",
    "test": "the test suite",
}
"""What each extra is for; one that is not named here is shown without it."""
EMBEDDED = {
    "glyph-clip": ("b973cddc6b641990", "63c0a4558a6c82ec"),
    "glyph-vit": ("481172bf221f9dcc", "987159f087bd6380"),
}
"""Fingerprints of the image encoder and text side of each embedded model."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it belongs to, such as ``packages``.
        name: what was looked at.
        state: ``broken`` where something that is needed is not usable, ``absent`` where something
            optional is not there, ``note`` where something should be known.
        text: what was found.
        remedy: what to do; empty where nothing need be done.
    """

    topic: str
    name: str
    state: State
    text: str
    remedy: str = ""


Check = Callable[[], Iterator[Finding]]


@dataclass(frozen=True)
class Checkup:
    """Everything that was found."""

    findings: list[Finding]

    @property
    def usable(self) -> bool:
        """Whether nothing that is needed is broken."""
        return all(finding.state != "broken" for finding in self.findings)

    @property
    def problems(self) -> list[Finding]:
        """What is broken, and what else has a remedy; the broken first."""
        broken = [one for one in self.findings if one.state == "broken"]
        return broken + [one for one in self.findings if one.state != "broken" and one.remedy]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"usable": self.usable, "findings": [asdict(one) for one in self.findings]}


def checkup(root: Path) -> Checkup:
    """Look at everything; published sets are looked for below ``root``."""
    checks: dict[str, Check] = {
        "packages": packages,
        "devices": devices,
        "models": models,
        "data": partial(data_sets, root),
        "storage": storage,
        "environment": variables,
    }
    return Checkup([found for topic, check in checks.items() for found in _guarded(topic, check)])


def _guarded(topic: str, check: Check) -> list[Finding]:
    found = []
    try:
        for finding in check():
            found.append(finding)
    # A broken installation fails in any way, and that is what is looked for.
    except Exception as reason:
        text = f"{type(reason).__name__}: {' '.join(str(reason).split())}"
        remedy = "install zsrobust again in a new environment"
        found.append(Finding(topic, "this check", "broken", text, remedy))
    return found


def packages() -> Iterator[Finding]:
    """Versions of everything needed, and what each extra lacks."""
    yield Finding(
        "packages", "zsrobust", "ok", f"{__version__}, Python {platform.python_version()}"
    )
    extras: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, requires("zsrobust") or ()):
        extra = _extra(requirement)
        if extra is None:
            if requirement.marker is None or requirement.marker.evaluate():
                yield _needed(requirement)
        else:
            extras.setdefault(extra, []).append(requirement)
    for extra, wanted in extras.items():
        yield _optional(extra, wanted)


def _extra(requirement: Requirement) -> str | None:
    """The extra that asks for it, if it takes one."""
    marker = str(requirement.marker or "")
    return marker.partition("extra == ")[2].strip("\"'() ") or None


def _found(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _fits(requirement: Requirement, found: str | None) -> bool:
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _needed(requirement: Requirement) -> Finding:
    found, name = _found(requirement), requirement.name
    if _fits(requirement, found):
        return Finding("packages", name, "ok", str(found))
    wanted = str(requirement.specifier) or "any version"
    text = f"{found or 'not installed'}; required: {wanted}"
    return Finding("packages", name, "broken", text, f'pip install "{name}{requirement.specifier}"')


def _optional(extra: str, wanted: list[Requirement]) -> Finding:
    lacking = [one.name for one in wanted if not _fits(one, _found(one))]
    purpose = ENABLES.get(extra, "")
    name = f"extra {extra}"
    reason = f"; for {purpose}" if purpose else ""
    if not lacking:
        return Finding("packages", name, "ok", f"installed{reason}")
    text = f"optional, not installed: {', '.join(lacking)}{reason}"
    return Finding("packages", name, "absent", text, f'pip install "zsrobust[{extra}]"')


def devices() -> Iterator[Finding]:
    """The CPU, every CUDA device, and Apple's GPU, each with what it can do."""
    import torch

    from zsrobust.utils.devices import bf16_works

    topic = "devices"
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    bf16 = _yes(bf16_works(torch.device("cpu")))
    yield Finding(topic, "cpu", "ok", f"{threads}, bfloat16 {bf16}")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        build = "without CUDA" if built is None else f"for CUDA {built}"
        text = f"no NVIDIA GPU found (torch is built {build}); everything runs on the CPU"
        yield Finding(topic, "cuda", "absent", text)
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        bf16 = _yes(bf16_works(torch.device("cuda", index)))
        yield Finding(topic, f"cuda:{index}", "ok", f"{about.name}, {memory}, bfloat16 {bf16}")
    if torch.backends.mps.is_available():
        yield Finding(topic, "mps", "ok", "Apple's GPU, for --device mps")


def storage() -> Iterator[Finding]:
    """The cache, and the disk of it and of run folders."""
    folder = cache_folder()
    yield _cache(folder)
    for name, place in (("disk of the cache", folder), ("disk of this folder", Path.cwd())):
        free = shutil.disk_usage(_existing(place)).free
        text = f"{free / 1e9:.1f} GB free at {_existing(place)}"
        if free < LOW_DISK:
            yield Finding("storage", name, "broken", text, "free at least 1 GB")
        else:
            yield Finding("storage", name, "ok", text)


def variables() -> Iterator[Finding]:
    """Those that are set, and a token without its value."""
    topic = "environment"
    for name, meaning in VARIABLES.items():
        if name in os.environ:
            yield Finding(topic, name, "ok", f"{os.environ[name]} ({meaning})")
    if os.environ.get("HF_TOKEN"):
        yield Finding(topic, "HF_TOKEN", "ok", "set (for zsrobust push)")
    root = os.environ.get("ZSROBUST_DATA")
    if root and not Path(root).expanduser().is_dir():
        text = f"{root} is not a folder"
        yield Finding(topic, "ZSROBUST_DATA", "note", text, "make it, or unset the variable")


def _cache(folder: Path) -> Finding:
    topic, name = "storage", "cache"
    try:
        limit = cache_limit()
    except RequestError as wrong:
        return Finding(topic, name, "broken", str(wrong), "set ZSROBUST_CACHE_GB, or unset it")
    files = [file for kind in LARGE for file in (folder / kind).glob("*") if file.is_file()]
    taken = sum(file.stat().st_size for file in files)
    text = f"{folder}, {taken / 1e9:.1f} of {limit / 1e9:g} GB taken"
    place = _existing(folder)
    if not (place.is_dir() and os.access(place, os.W_OK)):
        text += "; it cannot be written, so nothing is cached"
        remedy = "set ZSROBUST_CACHE to a folder that can be written"
        return Finding(topic, name, "note", text, remedy)
    return Finding(topic, name, "ok", text)


def _existing(place: Path) -> Path:
    """``place``, or the nearest parent folder that exists."""
    while not place.exists():
        place = place.parent
    return place


def _yes(works: bool) -> str:
    return "yes" if works else "no"


def models() -> Iterator[Finding]:
    """The embedded models, and what the hub's cache and OpenAI's hold."""
    from huggingface_hub import constants

    from zsrobust.models import photo_lite
    from zsrobust.models.names import LOADERS
    from zsrobust.models.weights import fingerprint

    topic = "models"
    for name, expected in EMBEDDED.items():
        try:
            model = resolve_name(LOADERS[name])(name)
            right = (fingerprint(model.encoder), model.text.fingerprint) == expected
            text = "loads, weights as shipped" if right else "its weights are not those shipped"
        except RequestError as wrong:
            right, text = False, str(wrong)
        yield Finding(
            topic,
            name,
            "ok" if right else "broken",
            text,
            "" if right else "pip install --force-reinstall --no-deps zsrobust",
        )
    lacking = [package for package in photo_lite.PACKAGES if find_spec(package) is None]
    if lacking:
        yield Finding(topic, "photo-lite", "absent", "needs the extra photo")
    else:
        yield Finding(topic, "photo-lite", "ok", "its packages are installed")
    hub, openai = Path(constants.HF_HUB_CACHE), Path.home() / ".cache" / "clip"
    cached = [folder.name.partition("--")[2].replace("--", "/") for folder in hub.glob("models--*")]
    yield _downloaded("hub cache", cached, hub)
    yield _downloaded("OpenAI's weights", [file.name for file in openai.glob("*.pt")], openai)


def data_sets(root: Path) -> Iterator[Finding]:
    """The published sets below ``root``; those of other places are not looked for."""
    from zsrobust.data.published.sets import published_sets

    sets = published_sets()
    here = [name for name, known in sets.items() if known.below(root)]
    yield Finding("data", "embedded", "ok", "glyphs, glyph:SET, digits")
    if here:
        text = f"{len(here)} of {len(sets)} in {root}: {', '.join(here)}"
        yield Finding("data", "published sets", "ok", text)
    else:
        remedy = "zsrobust data prepare NAME downloads one, zsrobust data list names them"
        yield Finding("data", "published sets", "absent", f"none of {len(sets)} in {root}", remedy)


def _downloaded(name: str, files: list[str], place: Path) -> Finding:
    if not files:
        return Finding("models", name, "absent", f"nothing downloaded to {place} yet")
    return Finding("models", name, "ok", f"{', '.join(sorted(files))} in {place}")
