"""Shards of other writers, and a server on this machine that counts what is asked of it."""

import functools
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, suffix: str = "png") -> bytes:
    """The file of an image of 12 x 10 random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, {"jpg": "JPEG"}.get(suffix, suffix))
    return held.getvalue()


@pytest.fixture
def tar(tmp_path: Path):
    """Writes a tar file of (name or TarInfo, content) with Python's tarfile."""

    def write(name: str, members, kind=tarfile.PAX_FORMAT) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=kind) as archive:
            for member, content in members:
                if isinstance(member, str):
                    member = tarfile.TarInfo(member)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("Owl\nTit\nDuck\n")
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The URL of a server of ``tmp_path``, and the paths that were got from it so far."""
    got: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()
        thread.join()
