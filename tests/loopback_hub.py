"""The Hugging Face hub on this machine: what huggingface_hub asks for when it reads a model.

A repository is a folder ``ROOT/ORG/NAME``. The answers are those of the real hub:

- ``/ORG/NAME/resolve/REVISION/FILE`` redirects, small files to a path of the hub itself, large
  ones (Git LFS) to another host, which gets no token; ``X-Linked-ETag`` is their SHA-256.
- The other host serves ranges, so that a client can go on where a connection broke.
- ``/api/models/...`` describes a repository and lists its files.
- ``X-Error-Code`` tells a missing repository from a missing file and a gated repository.

With ``xet`` large files are in Xet storage, too: their headers name it, ``/v1/reconstructions``
lists the chunks of a file, and ``/xorb`` serves those. A client without hf_xet, or with
HF_HUB_DISABLE_XET, downloads as without.
"""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS = (".safetensors", ".bin", ".pt", ".tar", ".onnx")
"""Endings of files that are large files on the hub, whatever their size."""


@dataclass
class Fault:
    """What goes wrong with requests whose path has ``part`` in it.

    Attributes:
        part: of the path; ``/cdn/`` is all content of large files.
        status: of the answer instead of what was asked for; 0 for what was asked for.
        code, message: the answer's ``X-Error-Code`` and ``X-Error-Message``.
        cut_after: bytes of the content after which the connection breaks; None for all.
        flipped: whether one bit of the content is another.
        stalled: whether nothing is answered until the hub is closed.
        times: how many requests it lasts for.
    """

    part: str
    status: int = 0
    code: str = ""
    message: str = ""
    cut_after: int | None = None
    flipped: bool = False
    stalled: bool = False
    times: int = 10**6


@dataclass(frozen=True)
class Asked:
    """One request: its method, path, and headers ``Range`` and ``Authorization``."""

    method: str
    path: str
    range: str
    token: str


@dataclass
class LoopbackHub:
    """A server of the repositories below ``root``; ``with LoopbackHub(root) as hub``.

    Attributes:
        root: the repositories.
        files: further files by the path of their address, as on a plain web server.
        faults: what goes wrong; the first that fits counts.
        asked: the requests so far.
        xet: whether large files are in Xet storage.
    """

    root: Path
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    xet: bool = False
    stored: dict[str, Path] = field(default_factory=dict)

    def __enter__(self) -> "LoopbackHub":
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def content_address(self) -> str:
        """Of large files: another host, as far as a client can tell."""
        return f"http://localhost:{self._server.server_port}/cdn"

    def publish(self, repository: str, files: dict[str, bytes]) -> None:
        """Put files into a repository."""
        for name, content in files.items():
            path = self.root / repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def use(self, monkeypatch, cache: Path) -> None:
        """Make huggingface_hub in this process ask here, with an empty cache and no token."""
        template = f"{self.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in {
            "ENDPOINT": self.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_URL_HOSTS": frozenset({"127.0.0.1"}),
        }.items():
            monkeypatch.setattr(constants, name, value, raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HF_XET_CACHE", str(cache / "xet"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))

    def environment(self, cache: Path) -> dict[str, str]:
        """The same for another process."""
        return {"HF_ENDPOINT": self.address, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}

    def paths(self, part: str, method: str = "GET") -> list[str]:
        """Paths with ``part`` that were asked for by ``method``."""
        return [one.path for one in self.asked if one.method == method and part in one.path]

    def fault(self, path: str) -> Fault | None:
        for one in self.faults:
            if one.part in path and one.times > 0:
                one.times -= 1
                return one
        return None


def _handler(hub: LoopbackHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            wanted = (self.headers.get(name, "") for name in ("Range", "Authorization"))
            hub.asked.append(Asked(self.command, path, *wanted))
            fault = hub.fault(path) or Fault("")
            if fault.stalled:
                hub._closed.wait()
                self.close_connection = True
            elif fault.status:
                self.refuse(fault.status, fault.code, {"X-Error-Message": fault.message})
            elif path == "/":
                self.answer(b"")
            elif path.startswith("/cdn/"):
                self.large(path.removeprefix("/cdn/"), fault)
            elif path in hub.files:
                self.content(hub.files[path], fault)
            elif "/xet-read-token/" in path:
                about = {"X-Xet-Cas-Url": hub.address, "X-Xet-Access-Token": "of-the-test"}
                self.answer(b"{}", 200, {**about, "X-Xet-Token-Expiration": str(2**32)})
            elif path.startswith("/v1/reconstructions/"):
                self.reconstruction(path.rpartition("/")[2])
            elif path.startswith("/xorb/"):
                chunks = xet_chunks(hub.stored[path.rpartition("/")[2]])
                self.content(b"".join(chunks), fault)
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
                self.about(*found.groups(""))
            elif found := re.fullmatch(r"/api/resolve-cache/([^/]+/[^/]+)/[^/]+/(.+)", path):
                file = hub.root / found[1] / found[2]
                about = {"X-Repo-Commit": COMMIT, "ETag": f'"{blob_id(file)}"'}
                self.content(file.read_bytes(), fault, about)
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.resolve(*found.groups())
            else:
                self.refuse(404)

        do_HEAD = do_GET

        def resolve(self, repository: str, revision: str, file: str) -> None:
            """Where a file is, and what it is."""
            if not (hub.root / repository).is_dir():
                return self.refuse(401)
            if revision not in ("main", COMMIT):
                return self.refuse(404, "RevisionNotFound")
            found = hub.root / repository / file
            if not found.is_file():
                return self.refuse(404, "EntryNotFound", {"X-Repo-Commit": COMMIT})
            about = {"X-Repo-Commit": COMMIT, "ETag": f'"{blob_id(found)}"'}
            if not file.endswith(LFS):
                place = f"/api/resolve-cache/{repository}/{COMMIT}/{file}"
                return self.answer(b"", 307, {**about, "Location": place})
            digest = hashlib.sha256(found.read_bytes()).hexdigest()
            about["X-Linked-ETag"] = f'"{digest}"'
            about["X-Linked-Size"] = str(found.stat().st_size)
            if hub.xet:
                token = f"{hub.address}/api/models/{repository}/xet-read-token/{COMMIT}"
                about["X-Xet-Hash"] = digest[::-1]
                hub.stored[digest[::-1]] = found
                about["Link"] = f'<{token}>; rel="xet-auth"'
            place = f"{hub.content_address}/{repository}/{file}"
            return self.answer(b"", 302, {**about, "Location": place})

        def about(self, repository: str, rest: str) -> None:
            """A repository, or the list of its files."""
            folder = hub.root / repository
            if not folder.is_dir():
                return self.refuse(401)
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            names = [path.relative_to(folder).as_posix() for path in files]
            if not rest.startswith("/tree/"):
                found = {"id": repository, "sha": COMMIT, "siblings": []}
                found["siblings"] = [{"rfilename": name} for name in names]
                return self.answer(json.dumps(found).encode())
            entries = []
            for name, path in zip(names, files, strict=True):
                size = path.stat().st_size
                entry = {"type": "file", "path": name, "size": size, "oid": blob_id(path)}
                if name.endswith(LFS):
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    entry["lfs"] = {"oid": digest, "size": size, "pointerSize": 134}
                    if hub.xet:
                        entry["xetHash"] = digest[::-1]
                entries.append(entry)
            return self.answer(json.dumps(entries).encode())

        def reconstruction(self, name: str) -> None:
            """Of which chunks a file is made, and where they are; all are in one xorb here."""
            file = hub.stored[name]
            chunks = xet_chunks(file)
            every = {"start": 0, "end": len(chunks)}
            size = file.stat().st_size
            place = {"range": every, "url": f"{hub.address}/xorb/{name}"}
            place["url_range"] = {"start": 0, "end": sum(map(len, chunks)) - 1}
            found = {
                "offset_into_first_range": 0,
                "terms": [{"hash": name, "unpacked_length": size, "range": every}],
                "fetch_info": {name: [place]},
            }
            self.answer(json.dumps(found).encode())

        def large(self, path: str, fault: Fault) -> None:
            found = hub.root / path
            if not found.is_file():
                return self.refuse(404)
            return self.content(found.read_bytes(), fault)

        def content(
            self, content: bytes, fault: Fault, about: dict[str, str] | None = None
        ) -> None:
            """A file, or the rest of it from where a client got to."""
            if fault.flipped:
                middle = len(content) // 2
                content = b"".join(
                    (content[:middle], bytes([content[middle] ^ 1]), content[middle + 1 :])
                )
            headers = {**(about or {}), "Accept-Ranges": "bytes"}
            status, start = 200, 0
            if found := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
                status, start = 206, int(found[1])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], status, headers, fault.cut_after)

        def answer(
            self,
            content: bytes,
            status: int = 200,
            headers: dict[str, str] | None = None,
            cut_after: int | None = None,
        ) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[:cut_after])
            if cut_after is not None:
                self.close_connection = True

        def refuse(
            self, status: int, code: str = "", headers: dict[str, str] | None = None
        ) -> None:
            about = {**(headers or {}), "X-Error-Code": code}
            self.answer(b"", status, {name: text for name, text in about.items() if text})

        def log_message(self, *_: object) -> None: ...

    return Handler


def xet_chunks(file: Path) -> list[bytes]:
    """The content in chunks as a xorb has them: version, lengths and compression (none) first."""
    content = file.read_bytes()
    chunks = []
    for start in range(0, len(content), 1 << 16):
        chunk = content[start : start + (1 << 16)]
        length = len(chunk).to_bytes(3, "little")
        chunks.append(b"\0" + length + b"\0" + length + chunk)
    return chunks


def blob_id(file: Path) -> str:
    """Git's name for the content of ``file``."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
