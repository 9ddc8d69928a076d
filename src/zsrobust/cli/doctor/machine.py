"""Devices, disk space and the variables of the environment that matter."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from zsrobust.cli.doctor.finding import Finding
from zsrobust.utils.cache import LARGE, cache_folder, cache_limit
from zsrobust.utils.errors import RequestError

LOW_DISK = 1_000_000_000
VARIABLES = {
    "ZSROBUST_CACHE": "where text vectors, pixels and shards are kept",
    "ZSROBUST_CACHE_GB": "how much pixels and shards may take",
    "ZSROBUST_DATA": "where published sets are looked for",
    "XDG_CACHE_HOME": "where caches are, unless ZSROBUST_CACHE says",
    "HF_HOME": "where the hub's files are",
    "HF_HUB_CACHE": "where the hub's files are, before HF_HOME",
    "HF_HUB_OFFLINE": "whether the hub is never asked",
    "HF_ENDPOINT": "which hub is asked",
    "OMP_NUM_THREADS": "threads of torch on the CPU",
    "CUDA_VISIBLE_DEVICES": "which GPUs torch sees",
    "RANK": "which of several processes this is",
    "NO_COLOR": "no colour in the terminal",
}


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
        why = "torch is built without it" if built is None else f"torch is built for {built}"
        yield Finding(topic, "cuda", "note", f"none here ({why}): everything runs on the CPU")
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
        words = f"{free / 1e9:.1f} GB free at {_existing(place)}"
        if free < LOW_DISK:
            yield Finding("storage", name, "broken", words, "free at least 1 GB")
        else:
            yield Finding("storage", name, "ok", words)


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
        words = f"{root} is no folder"
        yield Finding(topic, "ZSROBUST_DATA", "note", words, "make it, or unset the variable")


def _cache(folder: Path) -> Finding:
    topic, name = "storage", "cache"
    try:
        limit = cache_limit()
    except RequestError as wrong:
        return Finding(topic, name, "broken", str(wrong), "set ZSROBUST_CACHE_GB, or unset it")
    files = [file for kind in LARGE for file in (folder / kind).glob("*") if file.is_file()]
    taken = sum(file.stat().st_size for file in files)
    words = f"{folder}, {taken / 1e9:.1f} of {limit / 1e9:g} GB taken"
    place = _existing(folder)
    if not (place.is_dir() and os.access(place, os.W_OK)):
        words += "; it cannot be written, so nothing is kept"
        remedy = "set ZSROBUST_CACHE to a folder that can be written"
        return Finding(topic, name, "note", words, remedy)
    return Finding(topic, name, "ok", words)


def _existing(place: Path) -> Path:
    """``place``, or the nearest folder above it that there is."""
    while not place.exists():
        place = place.parent
    return place


def _yes(works: bool) -> str:
    return "yes" if works else "no"
