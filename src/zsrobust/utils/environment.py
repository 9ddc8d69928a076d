"""Where results were made: versions, device, and the state of the source."""

from __future__ import annotations

import json
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from zsrobust.utils.files import write_text
from zsrobust.utils.lazy import torch

LIBRARIES = (
    *("torch", "torchvision", "open_clip_torch", "timm", "numpy", "pillow"),
    *("accelerate", "pyautoattack"),
)


def environment(device: torch.device, processes: int = 1) -> dict[str, object]:
    """Versions of everything that computes, the device's name, and how many processes there are."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "zsrobust": version("zsrobust"),
        "source": source(Path(__file__).parents[1]),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "system": platform.platform(),
        "device": f"{device.type}: {name}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        **({"cuda": str(torch.version.cuda)} if device.type == "cuda" else {}),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def source(package: Path) -> str:
    """The commit that ``package`` lies in, and whether it was changed since; else ``installed``."""
    with suppress(OSError, subprocess.SubprocessError):
        # A package installed inside an unrelated repository is not part of its commit.
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        changed = " with changes" if _git(package, "status", "--porcelain", ".") else ""
        return f"commit {_git(package, 'rev-parse', 'HEAD')}{changed}"
    return "installed"


def record(path: Path, found: dict[str, object]) -> None:
    """Append an environment to the JSON list ``path``, unless it is its last entry."""
    known = recorded(path)
    if known[-1:] != [found]:
        write_text(path, json.dumps([*known, found], indent=1) + "\n")


def recorded(path: Path) -> list[dict[str, object]]:
    """The environments in ``path``, none where there is no such file."""
    with suppress(OSError, ValueError):
        return list(json.loads(path.read_text(encoding="utf-8")))
    return []


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return found.stdout.strip()
