"""What ``zsrobust demo`` is asked for."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

from zsrobust.config.schema import Device
from zsrobust.demo.plan import Size
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import LEAST_ROOM, as_argument, local_path, require_room, write_text
from zsrobust.utils.validation import check_types

MARK = "demo.json"
EXAMPLES = ""
"""The value of ``photos`` for the photographs that come with other packages."""


@dataclass(frozen=True)
class DemoRequest:
    """A demonstration.

    Attributes:
        quick: in a quarter of the steps and images.
        full: AutoAttack too, and three seeds.
        photos: your own photographs, a folder of class folders, with the photo model; without a
            folder, photographs that come with scikit-learn and scikit-image, before and after an
            attack.
        out: folder of everything that is made; null for one under runs/.
        device: where to run.
        overwrite: delete what the run folders below out hold and start again.
    """

    quick: bool = False
    full: bool = False
    photos: str | None = None
    out: str | None = None
    device: Device = "auto"
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_types(self)
        if self.quick and self.full:
            raise RequestError("quick and full were both asked for: choose one")
        if self.photos == EXAMPLES and (self.quick or self.full):
            raise RequestError(
                "quick and full are for demonstrations that train: leave them out, or name a "
                "folder with --photos DIR"
            )

    @property
    def size(self) -> Size:
        """How much is done."""
        return "quick" if self.quick else "full" if self.full else "normal"

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        if self.out is not None:
            return local_path(self.out)
        kind = {None: "demo", EXAMPLES: "demo-examples"}.get(self.photos, "demo-photos")
        return Path("runs") / (kind if self.size == "normal" else f"{kind}-{self.size}")

    @property
    def command(self) -> str:
        """The command that does the same again."""
        argv = ["zsrobust", "demo"]
        argv += [f"--{size}" for size in ("quick", "full") if getattr(self, size)]
        if self.photos is not None:
            argv += ["--photos", *([as_argument(Path(self.photos))] if self.photos else [])]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("out", "device") and value != field.default:
                argv += [f"--{field.name}", as_argument(Path(value))]
        return shlex.join(argv)


def check_demo(request: DemoRequest) -> None:
    """Refuse a demonstration whose photographs or folder are not as they must be.

    Raises:
        RequestError: then.
    """
    if request.photos:
        from zsrobust.demo.own_photos import checked

        checked(local_path(request.photos))
    check_folder(request.folder)


def check_folder(out: Path) -> None:
    """Refuse a folder that a demonstration cannot use; it need not be there yet.

    Raises:
        RequestError: if it is a file, holds other files, or the disk is full.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"out {out} is a file: name a folder")
    if not out.exists():
        require_room(out, LEAST_ROOM, "the demonstration")
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise RequestError(
            f"out {out} holds files and is no folder of zsrobust demo: name an empty or new one"
        )


def claim_folder(out: Path, command: str) -> None:
    """Make the folder, marked with ``command``.

    Raises:
        RequestError: if it cannot be written, or holds other files.
    """
    try:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / MARK, json.dumps({"command": command}) + "\n")
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
