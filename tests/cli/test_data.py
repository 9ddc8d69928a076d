import functools
import hashlib
import http.client
import http.server
import io
import json
import re
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from zsrobust.cli.main import main
from zsrobust.data.names import published_spellings
from zsrobust.data.published.miniature import write_miniature
from zsrobust.data.published.sets import published_sets


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def eurosat(tmp_path: Path, monkeypatch) -> Path:
    """EuroSAT with 3 images a class, which the table takes for all of it."""
    write_miniature("eurosat", tmp_path, per_class=3)
    known = replace(published_sets()["eurosat"], counts={"train": 24, "test": 6, "all": 30})
    monkeypatch.setitem(published_sets(), "eurosat", known)
    return tmp_path


def test_list_tells_what_is_here(eurosat: Path, capsys, monkeypatch) -> None:
    assert main(["data", "list", "--root", str(eurosat)]) == 0
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert rows["eurosat"][-1] == "yes"
    assert rows["stl10"][1:5] == ["test", "8,000", "10", "96"]
    assert {rows[kind][-1] for kind in published_sets() if kind != "eurosat"} == {"no"}
    monkeypatch.setenv("ZSROBUST_DATA", str(eurosat))
    assert main(["data", "list"]) == 0
    assert capsys.readouterr().out == shown


def test_figures_for_machines(eurosat: Path, tmp_path, capsys) -> None:
    root = ["--root", str(eurosat), "--json"]
    folder = str(eurosat / "eurosat/eurosat/2750")

    def told(*argv: str, code: int = 0) -> dict:
        assert main(["data", *argv]) == code
        return json.loads(capsys.readouterr().out)

    sets = {one["name"]: one for one in told("list", *root)["sets"]}
    assert set(sets) == set(published_sets())
    assert (sets["eurosat"]["n"], sets["eurosat"]["folder"]) == (6, folder)
    assert (sets["stl10"]["px"], sets["stl10"]["folder"]) == (96, None)
    prepared = told("prepare", "eurosat", *root)
    assert prepared == {"name": "eurosat", "folder": folder, "downloaded": False}
    assert told("verify", "eurosat", *root)["whole"] is True
    out = str(tmp_path / "shards")
    sharded = told("shard", f"imagefolder:{folder}", "--out", out, "--shard-size", "20", "--json")
    assert (sharded["folder"], sharded["n"], sharded["shards"]) == (out, 30, 2)
    assert sharded["bytes"] == sum(file.stat().st_size for file in Path(out).glob("*.tar"))
    (Path(folder) / "Forest/Forest_1.jpg").unlink()
    checked = told("verify", "eurosat", *root, code=1)
    assert checked["whole"] is False
    assert {one["subject"]: one["whole"] for one in checked["checked"]}["all"] is False


def test_verify_a_whole_set(eurosat: Path, capsys) -> None:
    assert main(["data", "verify", "eurosat", "--root", str(eurosat)]) == 0
    shown = capsys.readouterr().out
    assert "eurosat/all: 30 images of 10 classes; all readable" in shown
    assert "is complete" in shown


def test_verify_finds_what_is_wrong(eurosat: Path, capsys) -> None:
    folder = eurosat / "eurosat/eurosat/2750"
    (folder / "River/River_2.jpg").write_bytes(jpeg()[:-20])
    (folder / "Forest/Forest_1.jpg").unlink()
    (eurosat / "eurosat/eurosat/EuroSAT.zip").write_bytes(b"half of it")
    assert main(["data", "verify", "eurosat", "--root", str(eurosat)]) == 1
    out, err = capsys.readouterr()
    assert "29 images of 10 classes; 30 are published; 1 of 29 images" in out
    assert "River_2.jpg" in out
    assert "eurosat/EuroSAT.zip: checksum not as published" in out
    assert "is incomplete" in err


def test_verify_compares_checksums(eurosat: Path, monkeypatch, capsys) -> None:
    content = b"an archive"
    (eurosat / "eurosat/eurosat/EuroSAT.zip").write_bytes(content)
    sums = {"eurosat/EuroSAT.zip": hashlib.md5(content).hexdigest()}
    monkeypatch.setitem(
        published_sets(), "eurosat", replace(published_sets()["eurosat"], checksums=sums)
    )
    assert main(["data", "verify", "eurosat", "--root", str(eurosat)]) == 0
    assert "eurosat/EuroSAT.zip: checksum as published" in capsys.readouterr().out


def test_a_missing_split_that_no_evaluation_needs_is_no_fault(
    tmp_path, monkeypatch, capsys
) -> None:
    folder = tmp_path / "hateful-memes"
    (folder / "img").mkdir(parents=True)
    (folder / "img/1.png").write_bytes(jpeg())
    (folder / "img/2.png").write_bytes(jpeg())
    lines = [f'{{"img": "img/{n}.png", "label": {n - 1}}}' for n in (1, 2)]
    (folder / "test_seen.jsonl").write_text("\n".join(lines))
    known = replace(published_sets()["hateful-memes"], counts={"train": 8500, "test_seen": 2})
    monkeypatch.setitem(published_sets(), "hateful-memes", known)
    assert main(["data", "verify", "hateful-memes", "--root", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "hateful-memes/train: not here" in shown
    assert "test_seen: 2 images of 2 classes; all readable" in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["list", "x"], "unrecognized arguments: x"),
        (["fetch"], "there is no subcommand 'fetch': choose list, prepare, verify, shard$"),
        (["prepar", "dtd"], "there is no subcommand 'prepar': did you mean prepare\\?$"),
        (["prepare"], "required: NAME"),
        (["prepare", "cifar11"], "no published set 'cifar11': did you mean cifar10\\?"),
        (["prepare", "dtd", "--split", "half"], "dtd has no split 'half': it has train, val, test"),
        (["prepare", "imagenet"], "imagenet needs an account.*make an account at image-net.org"),
        (["prepare", "hateful-memes"], "sign the licence"),
        (["prepare", "stanford-cars"], "cannot be downloaded any more.*car_devkit.tgz"),
        (["verify", "dtd"], "dtd is not below .*dtd/dtd/labels/test1.txt"),
    ],
)
def test_bad_requests(tmp_path, monkeypatch, capsys, argv, message: str) -> None:
    monkeypatch.setenv("ZSROBUST_DATA", str(tmp_path / "none"))
    assert main(["data", *argv]) == 2
    err = capsys.readouterr().err
    assert re.search(message, err)
    assert err.count("\n") == 1
    assert not (tmp_path / "none").exists()


@pytest.fixture
def offline(monkeypatch) -> None:
    def refuse(*_, **__):
        raise urllib.error.URLError(OSError(-2, "Name or service not known"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1e12, total=1e13))


@pytest.mark.parametrize(
    "kind", ["tiny-imagenet", "cifar10", "food101", "caltech101", "imagenet-r"]
)
def test_without_a_network_prepare_says_so(tmp_path, offline, capsys, kind: str) -> None:
    assert main(["data", "prepare", kind, "--root", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert f"cannot download {kind}" in err
    assert "is this machine online?" in err
    assert published_sets()[kind].source in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["tiny-imagenet", "cifar10", "fgvc-aircraft"])
@pytest.mark.parametrize(
    "failure",
    [
        http.client.IncompleteRead(b"half"),
        http.client.BadStatusLine("<html>"),
        zipfile.BadZipFile("File is not a zip file"),
        tarfile.ReadError("not a gzip file"),
        EOFError(),
    ],
)
def test_a_download_that_fails_is_one_sentence(
    tmp_path, offline, monkeypatch, capsys, kind: str, failure: Exception
) -> None:
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    assert main(["data", "prepare", kind, "--root", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert f"cannot bring {kind} into {tmp_path / kind}" in err
    assert published_sets()[kind].source in err
    assert err.count("\n") == 1
    assert not (tmp_path / kind).exists()


def test_an_archive_that_is_none_is_told_and_can_be_fetched_anew(
    tmp_path, served, monkeypatch, capsys
) -> None:
    folder, address = served
    (folder / "imagenet-o.tar").write_text("<html>Come back later.</html>")
    known = replace(published_sets()["imagenet-o"], url=f"{address}/imagenet-o.tar")
    monkeypatch.setitem(published_sets(), "imagenet-o", known)
    argv = ["data", "prepare", "imagenet-o", "--root", str(tmp_path)]
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert re.search(r"imagenet-o\.tar cannot be unpacked .* and was removed: prepare", err)
    with tarfile.open(folder / "imagenet-o.tar", "w") as archive:
        for wnid in published_spellings("imagenet-o"):
            entry = tarfile.TarInfo(f"imagenet-o/{wnid}/0.jpg")
            entry.size = len(jpeg())
            archive.addfile(entry, io.BytesIO(jpeg()))
    assert main(argv) == 0


def test_a_full_disk_is_told_before_the_download(tmp_path, offline, monkeypatch, capsys) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=5e9, total=1e12))
    assert main(["data", "prepare", "sun397", "--root", str(tmp_path)]) == 2
    assert "needs about 81.9 GB" in capsys.readouterr().err


@pytest.fixture
def served(tmp_path_factory):
    """A folder and the address under which this machine serves it to itself."""
    folder = tmp_path_factory.mktemp("served")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_prepare_downloads_unpacks_and_is_done_once(tmp_path, served, monkeypatch, capsys) -> None:
    folder, address = served
    with tarfile.open(folder / "imagenet-a.tar", "w") as archive:
        for wnid in published_spellings("imagenet-a"):
            entry = tarfile.TarInfo(f"imagenet-a/{wnid}/0.jpg")
            entry.size = len(jpeg())
            archive.addfile(entry, io.BytesIO(jpeg()))
    published = replace(
        published_sets()["imagenet-a"], url=f"{address}/imagenet-a.tar", gigabytes=0.0
    )
    monkeypatch.setitem(published_sets(), "imagenet-a", published)
    argv = ["data", "prepare", "imagenet-a", "--root", str(tmp_path)]
    # The archive that is served is not the published one.
    assert main(argv) == 1
    assert "corrupted" in capsys.readouterr().err
    content = (folder / "imagenet-a.tar").read_bytes()
    sums = {"imagenet-a.tar": hashlib.md5(content).hexdigest()}
    known = replace(published, checksums=sums, counts={"test": 200})
    monkeypatch.setitem(published_sets(), "imagenet-a", known)
    assert main(argv) == 0
    assert f"imagenet-a is in {tmp_path}/imagenet-a/imagenet-a" in capsys.readouterr().out
    assert main(["data", "verify", "imagenet-a", "--root", str(tmp_path)]) == 0
    assert "imagenet-a.tar: checksum as published" in capsys.readouterr().out
    (folder / "imagenet-a.tar").unlink()
    assert main(argv) == 0
    assert "zsrobust data verify imagenet-a" in capsys.readouterr().out
