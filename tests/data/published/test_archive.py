import gzip
import http.server
import io
import shutil
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from zsrobust.data.published.prepare import fetch_archive
from zsrobust.utils.errors import RequestError, RunError

# Does not compress, so that cutting the archive cuts the file.
CONTENT = bytes((i * i * 31 + i // 7) % 251 for i in range(40_000))


def tar_of(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def archive_of(name: str, members: dict[str, bytes]) -> bytes:
    if name.endswith(".zip"):
        return zip_of(members)
    content = tar_of(members)
    if not name.endswith("gz"):
        return content
    # In two parts with a checksum each, for tarfile reads no further than the last member.
    return gzip.compress(content[:20_000]) + gzip.compress(content[20_000:])


@pytest.fixture
def served():
    """Serves ``answers``, name to bytes and the length to promise, and keeps ``asked``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content, promised = answers[self.path[1:]]
            self.send_response(200)
            self.send_header("Content-Length", str(promised))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_) -> None:
            pass

    answers: dict[str, tuple[bytes, int]] = {}
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", answers, asked
    server.shutdown()
    server.server_close()


NAMES = ["set.tar", "set.tar.gz", "set.tgz", "set.zip"]


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_is_fetched_once_and_unpacked_beside_itself(tmp_path, served, name) -> None:
    address, answers, asked = served
    content = archive_of(name, {"set/a/0.bin": CONTENT})
    answers[name] = content, len(content)
    for _ in range(2):
        fetch_archive(f"{address}/{name}", tmp_path / name, None)
    assert (tmp_path / "set/a/0.bin").read_bytes() == CONTENT
    assert asked == [f"/{name}"]


@pytest.mark.parametrize("name", NAMES)
def test_a_connection_that_breaks_leaves_nothing_and_the_next_try_is_whole(
    tmp_path: Path, served, name: str
) -> None:
    address, answers, _ = served
    content = archive_of(name, {"set/0.bin": CONTENT})
    answers[name] = content[:-100], len(content)
    with pytest.raises(RunError, match=f"{name} broke off 100 bytes before its end"):
        fetch_archive(f"{address}/{name}", tmp_path / name, None)
    assert list(tmp_path.iterdir()) == []
    answers[name] = content, len(content)
    fetch_archive(f"{address}/{name}", tmp_path / name, None)
    assert (tmp_path / "set/0.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["cut", "page", "flip"])
def test_an_archive_that_does_not_open_is_removed(tmp_path, served, name, damage: str) -> None:
    address, answers, _ = served
    content = archive_of(name, {"set/0.bin": CONTENT})
    # A flipped bit of the checksum: in zip's entry, tar's header, the end of gzip's first part.
    places = {".zip": content.rfind(b"PK\x01\x02") + 16, ".tar": 150}
    at = places.get(Path(name).suffix, content.rfind(b"\x1f\x8b\x08") - 6)
    damaged = {
        "cut": content[: len(content) // 2],
        "page": b"<html>Come back later.</html>",
        "flip": content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :],
    }
    (tmp_path / name).write_bytes(damaged[damage])
    with pytest.raises(RunError, match=rf"{name} cannot be unpacked \(.*\) and was removed"):
        fetch_archive(f"{address}/{name}", tmp_path / name, None)
    assert not (tmp_path / name).exists()
    answers[name] = content, len(content)
    fetch_archive(f"{address}/{name}", tmp_path / name, None)
    assert (tmp_path / "set/0.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("away", ["../out.bin", "set/../../out.bin"])
def test_no_member_leads_outside(tmp_path: Path, served, name: str, away: str) -> None:
    address, answers, _ = served
    target = tmp_path / "deep" / "target"
    content = archive_of(name, {"set/0.bin": CONTENT, away: b"evil"})
    answers[name] = content, len(content)
    target.mkdir(parents=True)
    # zipfile drops the steps upwards and unpacks inside; tarfile refuses.
    if name.endswith(".zip"):
        fetch_archive(f"{address}/{name}", target / name, None)
    else:
        with pytest.raises(RunError, match="outside the destination"):
            fetch_archive(f"{address}/{name}", target / name, None)
    assert [path for path in tmp_path.rglob("out.bin") if target not in path.parents] == []


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, served) -> None:
    address, _, _ = served
    (tmp_path / "target").mkdir()
    with tarfile.open(tmp_path / "target/set.tar", "w") as archive:
        link = tarfile.TarInfo("set")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
    with pytest.raises(RunError, match="cannot be unpacked"):
        fetch_archive(f"{address}/set.tar", tmp_path / "target/set.tar", None)
    assert not (tmp_path / "target/set").is_symlink()


@pytest.mark.parametrize("name", NAMES)
def test_an_archive_of_more_than_the_disk_holds_is_refused_before_it_fills_it(
    tmp_path: Path, monkeypatch, name: str
) -> None:
    members = {"set/small.bin": b"x", "set/bomb.bin": b"\0" * 50_000}
    (tmp_path / name).write_bytes(archive_of(name, members))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=50_000))
    with pytest.raises(RunError, match=r"holds 50,001 bytes or more, and 50,000 are free"):
        fetch_archive("http://127.0.0.1:9/not-asked", tmp_path / name, None)
    assert not (tmp_path / "set/bomb.bin").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=50_001))
    fetch_archive("http://127.0.0.1:9/not-asked", tmp_path / name, None)
    assert (tmp_path / "set/bomb.bin").stat().st_size == 50_000


def test_a_python_that_cannot_unpack_safely_is_told_first(tmp_path, served, monkeypatch) -> None:
    address, answers, asked = served
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(RequestError, match=r"cannot unpack set\.tar safely: use 3\.10\.12"):
        fetch_archive(f"{address}/set.tar", tmp_path / "set.tar", None)
    assert asked == []
    content = zip_of({"set/0.bin": CONTENT})
    answers["set.zip"] = content, len(content)
    fetch_archive(f"{address}/set.zip", tmp_path / "set.zip", None)
    assert (tmp_path / "set/0.bin").read_bytes() == CONTENT


def test_another_checksum_keeps_nothing(tmp_path: Path, served) -> None:
    address, answers, _ = served
    content = tar_of({"set/0.bin": CONTENT})
    answers["set.tar"] = content, len(content)
    with pytest.raises(RunError, match="corrupted archive"):
        fetch_archive(f"{address}/set.tar", tmp_path / "set.tar", "0" * 32)
    assert list(tmp_path.iterdir()) == []
