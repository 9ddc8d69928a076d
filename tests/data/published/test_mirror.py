"""``data prepare`` and ``data verify`` against archives in their real formats, served on loopback.

Every archive holds a set in miniature. Addresses lead to this machine, by the file's name, and the
checksums of the archives stand for the published ones.
"""

import functools
import gzip
import hashlib
import http.server
import io
import shutil
import sys
import tarfile
import threading
import types
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets
from torchvision.datasets import utils

from zsrobust.cli.main import main
from zsrobust.data import verify_published
from zsrobust.data.names import wordnet_ids
from zsrobust.data.published.miniature import taken_for_published, write_miniature
from zsrobust.data.published.sets import MINIATURE, published_sets
from zsrobust.data.registry import opening

DOWNLOADED = [
    *("tiny-imagenet", "cifar10", "cifar100", "stl10", "sun397", "food101", "oxford-pets"),
    *("flowers102", "dtd", "eurosat", "fgvc-aircraft", "caltech101", "caltech256", "pcam"),
]

pytestmark = pytest.mark.slow


def tar(members: dict[str, Path], mode: str) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as archive:
        for name, path in members.items():
            archive.add(path, name, filter=lambda one: None if MINIATURE in one.name else one)
    return held.getvalue()


def zipped(members: dict[str, Path | bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if isinstance(content, bytes):
                archive.writestr(name, content)
                continue
            for file in sorted(content.rglob("*")):
                if file.is_file() and file.name != MINIATURE:
                    archive.write(file, f"{name}/{file.relative_to(content)}")
    return held.getvalue()


def archives(kind: str, base: Path) -> dict[str, bytes]:
    """What is downloaded for a set whose own folder is ``base``, by file name."""
    gz, here = "w:gz", base.name
    if kind == "pcam":
        return {f"{file.name}.gz": gzip.compress(file.read_bytes()) for file in base.glob("*.h5")}
    if kind == "oxford-pets":
        return {
            f"{part}.tar.gz": tar({part: base / part}, gz) for part in ("images", "annotations")
        }
    if kind == "flowers102":
        lists = {
            f"{name}.mat": (base / f"{name}.mat").read_bytes() for name in ("setid", "imagelabels")
        }
        return {"102flowers.tgz": tar({"jpg": base / "jpg"}, gz), **lists}
    if kind == "caltech101":
        inner = {f"caltech-101/{here}.tar.gz": tar({here: base}, gz)}
        return {"caltech-101.zip": zipped({**inner, "caltech-101/Annotations.tar": tar({}, "w")})}
    return {
        "tiny-imagenet": lambda: {"tiny-imagenet-200.zip": zipped({here: base})},
        "eurosat": lambda: {"EuroSAT.zip": zipped({here: base})},
        "caltech256": lambda: {"256_ObjectCategories.tar": tar({here: base}, "w")},
        "cifar10": lambda: {"cifar-10-python.tar.gz": tar({here: base}, gz)},
        "cifar100": lambda: {"cifar-100-python.tar.gz": tar({here: base}, gz)},
        "dtd": lambda: {"dtd-r1.0.1.tar.gz": tar({here: base / here}, gz)},
        "food101": lambda: {"food-101.tar.gz": tar({here: base}, gz)},
    }.get(kind, lambda: {f"{here}.tar.gz": tar({here: base}, gz)})()


def published_sums(kind: str) -> dict[str, str]:
    """The MD5 of each archive as published, by file name."""
    sums = {Path(name).name: md5 for name, md5 in published_sets()[kind].checksums.items()}
    for stored in (datasets.CIFAR10, datasets.CIFAR100, datasets.STL10):
        sums[Path(stored.url).name] = stored.tgz_md5
    for parts in datasets.PCAM._FILES.values():
        sums |= {f"{name}.gz": md5 for name, _, md5 in parts.values()}
    return sums


@pytest.fixture
def mirror(monkeypatch):
    """Files to serve, by name; every address leads to them. Keeps the addresses in ``asked``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path[1:])
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_) -> None:
            pass

    files: dict[str, bytes] = {}
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    urlopen = urllib.request.urlopen

    def redirected(request, *args, **options):
        if isinstance(request, str):
            request = urllib.request.Request(request)
        if not request.full_url.startswith(address):
            asked.append(request.full_url)
        there = f"{address}/{request.full_url.rpartition('/')[2]}"
        return urlopen(urllib.request.Request(there, headers=request.headers), *args, **options)

    def from_drive(id: str, output: str, **_) -> None:
        asked.append(id)
        with urlopen(f"{address}/{Path(output).name}") as answer:
            Path(output).write_bytes(answer.read())

    monkeypatch.setattr(urllib.request, "urlopen", redirected)
    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=from_drive))
    yield files, asked
    server.shutdown()
    server.server_close()


def stand_for_published(monkeypatch, kind: str, served: dict[str, bytes]) -> None:
    """The checksums of what is served count as the published ones, and nothing else does."""
    published = published_sums(kind)
    known = {
        (name, hashlib.md5(content).hexdigest()): published[name]
        for name, content in served.items()
        if name in published
    }
    for module, function in ((utils, "calculate_md5"), (verify_published, "_md5")):
        monkeypatch.setattr(module, function, as_published(getattr(module, function), known))


def as_published(calculate, known: dict[tuple[str, str], str]):
    def found(path, *args) -> str:
        md5 = calculate(path, *args)
        return known.get((Path(path).name, md5), md5)

    return found


def in_miniature(monkeypatch, kind: str) -> None:
    """The table of sets with the counts of two images a class."""
    known = published_sets()[kind]
    n = 2 * known.classes
    counts = dict.fromkeys(known.counts, n)
    if known.own_split:
        counts = {"train": n - round(0.2 * n), "test": round(0.2 * n), "all": n}
    if kind == "fgvc-aircraft":
        counts["trainval"] = 2 * n
    monkeypatch.setitem(published_sets(), kind, replace(known, counts=counts, gigabytes=0.0))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("written")
    return functools.cache(lambda kind: (root, write_miniature(kind, root, per_class=2)))


def labels_and_pixels(spec: str):
    images = opening(spec, "test")()
    return list(images.labels), [np.asarray(images.read_rgb(i)) for i in (0, len(images) - 1)]


@pytest.mark.parametrize("kind", DOWNLOADED)
def test_downloaded_unpacked_verified(
    tmp_path: Path, monkeypatch, mirror, written, capsys, kind: str
) -> None:
    if kind == "pcam":
        pytest.importorskip("h5py")
    root, base = written(kind)
    files, asked = mirror
    files |= archives(kind, base)
    in_miniature(monkeypatch, kind)
    prepare = ["data", "prepare", kind, "--root", str(tmp_path)]
    if checked := set(files) & set(published_sums(kind)):
        # What is served is not the published archive, and so refused.
        assert main(prepare) == 1, checked
        assert "corrupted" in capsys.readouterr().err
    with taken_for_published(root):
        stand_for_published(monkeypatch, kind, files)
        assert main(prepare) == 0
        assert f"{kind} is in {tmp_path / kind}" in capsys.readouterr().out
        times = len(asked)
        assert main(prepare) == 0
        assert len(asked) == times, "a second call asks for nothing"
        capsys.readouterr()
        assert main(["data", "verify", kind, "--root", str(tmp_path)]) == 0
        assert f"{kind} in {tmp_path / kind}" in (shown := capsys.readouterr().out)
        assert "is complete" in shown
        assert "not as published" not in shown
        # An archive that is left beside the set is compared.
        left = [
            name for name in published_sets()[kind].checksums if (tmp_path / kind / name).is_file()
        ]
        assert shown.count("checksum as published") == len(left)
        found, expected = (labels_and_pixels(f"{kind}:{r / kind}") for r in (tmp_path, root))
    assert found[0] == expected[0]
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_the_split_that_is_asked_for_is_fetched(
    tmp_path, monkeypatch, mirror, written
) -> None:
    pytest.importorskip("h5py")
    _, base = written("pcam")
    files, asked = mirror
    files |= archives("pcam", base)
    in_miniature(monkeypatch, "pcam")
    stand_for_published(monkeypatch, "pcam", files)
    for split in ("test", "val"):
        argv = ["data", "prepare", "pcam", "--root", str(tmp_path), "--split", split]
        assert main(argv) == 0
        ids = [part[1] for part in datasets.PCAM._FILES[split].values()]
        assert asked == ids
        asked.clear()


def test_imagenets_archives_are_unpacked_from_where_a_person_put_them(
    tmp_path: Path, monkeypatch, written, capsys
) -> None:
    """Image n of the archive has ILSVRC's class number n of the ground truth, whatever its wnid."""
    _, base = written("imagenet")
    wnids = wordnet_ids("imagenet")
    # ILSVRC numbers its classes otherwise than by wnid: here, backwards.
    number_of = {wnid: 1000 - label for label, wnid in enumerate(wnids)}
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    rows = [(number_of[wnid], wnid, "a, b", "", 0) for wnid in wnids]
    synsets = np.array([*rows, (1001, "n00001740", "entity", "", 7)], [(f, object) for f in fields])
    devkit = tmp_path / "ILSVRC2012_devkit_t12/data"
    devkit.mkdir(parents=True)
    savemat(devkit / "meta.mat", {"synsets": synsets})
    images = sorted(base.rglob("*.JPEG"), key=lambda file: file.name)
    truth = "".join(f"{number_of[file.parent.name]}\n" for file in images)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    folder = tmp_path / "imagenet"
    folder.mkdir()
    served = {
        "ILSVRC2012_img_val.tar": tar({file.name: file for file in images}, "w"),
        "ILSVRC2012_devkit_t12.tar.gz": tar({devkit.parent.name: devkit.parent}, "w:gz"),
    }
    for name, content in served.items():
        (folder / name).write_bytes(content)
    in_miniature(monkeypatch, "imagenet")
    argv = ["data", "prepare", "imagenet", "--root", str(tmp_path)]
    assert main(argv) == 1
    assert "corrupted" in capsys.readouterr().err
    stand_for_published(monkeypatch, "imagenet", served)
    assert main(argv) == 0
    assert main(["data", "verify", "imagenet", "--root", str(tmp_path)]) == 0
    assert "imagenet/train: not here" in (shown := capsys.readouterr().out)
    assert shown.count("checksum as published") == 2
    found, expected = (labels_and_pixels(f"imagenet:{r}") for r in (folder, base))
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def test_stanford_cars_is_read_where_a_person_put_it(
    tmp_path, monkeypatch, written, capsys
) -> None:
    _, base = written("stanford-cars")
    argv = ["data", "prepare", "stanford-cars", "--root", str(tmp_path)]
    assert main(argv) == 2
    assert "cannot be downloaded any more" in capsys.readouterr().err
    shutil.copytree(base, tmp_path / "stanford-cars/stanford_cars")
    in_miniature(monkeypatch, "stanford-cars")
    assert main(argv) == 0
    assert main(["data", "verify", "stanford-cars", "--root", str(tmp_path)]) == 0
    assert "is complete" in capsys.readouterr().out
