import io
import os
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from zsrobust.data import loading
from zsrobust.data.loading import AHEAD, load_batches
from zsrobust.data.registry import open_set
from zsrobust.data.sampler import epoch_batches
from zsrobust.data.shards import reader, scan
from zsrobust.data.shards.write import write_shards
from zsrobust.data.split import hold_out
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError, RunError

from .conftest import picture


@pytest.fixture
def shards(tmp_path: Path, memory_set) -> Path:
    """20 shards of 6 flat grey images each, 120 in all, with an index."""
    write_shards(memory_set([i % 3 for i in range(120)]), tmp_path / "out", 6, lambda done: None)
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(reader, "RETRIES", (0.0, 0.0))


def level(sample_id: str) -> int:
    """The grey of ``memory_set``'s sample."""
    return int(sample_id.removeprefix("sample-"))


def epoch(images, batch_size: int, workers: int = 0, number: int = 0):
    order = epoch_batches(images.sample_ids, batch_size, 0, number, images.blocks)
    return load_batches(images, order, resize="clip", resolution=8, workers=workers)


def got_shards(got: list[str]) -> list[str]:
    return [path for path in got if path.endswith(".tar")]


def test_opening_gets_the_index_alone_and_work_starts_with_few_shards(shards, served) -> None:
    url, got = served
    images, _ = verify(open_set(f"webdataset:{url}/out", "train"), "stop")
    assert sorted(got) == ["/out/index.json", "/out/samples.parquet"]
    batches = epoch(images, 4)
    next(batches)
    batches.close()
    assert 1 <= len(got_shards(got)) <= 6, "of 20"


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ahead", [True, False])
def test_an_epoch_is_every_image_once_and_every_shard_got_once(
    shards, served, monkeypatch, workers: int, ahead: bool
) -> None:
    if not ahead:
        monkeypatch.setattr(loading, "fetched_ahead", lambda _, batches: batches)
    url, got = served
    images, _ = verify(open_set(f"webdataset:{url}/out", "train"), "stop")
    seen = []
    for batch in epoch(images, 10, workers):
        seen += batch.sample_ids
        levels = torch.tensor([level(sample_id) for sample_id in batch.sample_ids])
        assert torch.equal(batch.images, (levels / 255).view(-1, 1, 1, 1).expand(-1, 3, 8, 8))
        assert batch.labels.tolist() == [level(sample_id) % 3 for sample_id in batch.sample_ids]
    assert sorted(map(level, seen)) == list(range(120))
    assert sorted(got_shards(got)) == [f"/out/test-{n:06d}.tar" for n in range(20)]
    again = [sample_id for batch in epoch(images, 10, workers, 1) for sample_id in batch.sample_ids]
    assert sorted(again) == sorted(seen)
    assert again != seen
    assert len(got_shards(got)) == 20, "kept on this machine"


def test_a_small_cache_gets_shards_again_and_gives_the_same(shards, served, monkeypatch) -> None:
    size = (shards / "test-000000.tar").stat().st_size
    monkeypatch.setenv("ZSROBUST_CACHE_GB", str(10.5 * size / 1e9))
    url, got = served
    images, _ = verify(open_set(f"webdataset:{url}/out", "train"), "stop")
    monkeypatch.setattr(loading, "pixel_cache", lambda *_: None)
    for number in range(2):
        seen = [i for batch in epoch(images, 10, number=number) for i in batch.sample_ids]
        assert sorted(map(level, seen)) == list(range(120))
    kept = [path for path in reader.cache_folder().glob("shards/*") if path.suffix != ".lock"]
    # A batch's reader and the fetchers ahead may each be writing one more.
    assert sum(path.stat().st_size for path in kept) <= (10.5 + AHEAD) * size
    assert len(got_shards(got)) > 20


def test_a_cache_too_small_for_a_window_is_told(shards, served, monkeypatch) -> None:
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "0.0001")
    with pytest.raises(RequestError, match=r"10 shards of memory are held at a time"):
        open_set(f"webdataset:{served[0]}/out", "train")


def test_few_shards_are_held_out(shards, served) -> None:
    images = open_set(f"webdataset:{served[0]}/out", "train")
    train, held_out = hold_out(images, 0.1, seed=3)
    assert (len(train), len(held_out)) == (108, 12)
    assert len(set(held_out.blocks)) == 2
    assert not set(train.sample_ids) & set(held_out.sample_ids)
    assert hold_out(images, 0.1, seed=4)[1].sample_ids != held_out.sample_ids


def test_a_shard_that_is_not_the_indexs_is_refused(shards, served) -> None:
    images = open_set(f"webdataset:{served[0]}/out", "train")
    path = shards / "test-000000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"test-000000\.tar is not the file that the index"):
        images.read_rgb(0)
    path.write_bytes(content[:-512])
    with pytest.raises(RunError, match=r"test-000000\.tar gave 19,968 bytes, not 20,480"):
        images.read_rgb(0)
    path.unlink()
    with pytest.raises(RunError, match=r"cannot read image .*cannot fetch http.*test-000000\.tar"):
        images.read_rgb(0)


def test_a_failing_server_is_asked_again(shards, served, monkeypatch) -> None:
    images = open_set(f"webdataset:{served[0]}/out", "train")
    real, failures = reader.file_system, [OSError("reset by peer"), TimeoutError()]

    def flaky(url: str):
        fs, path = real(url)
        get = fs.get_file

        class Flaky:
            def get_file(self, *asked: str) -> None:
                if failures:
                    raise failures.pop()
                get(*asked)

        return Flaky(), path

    monkeypatch.setattr(reader, "file_system", flaky)
    assert images.read_rgb(0).size == (8, 8)
    assert not failures
    assert not list(reader.cache_folder().rglob("*.tmp"))


def test_a_copy_that_vanishes_is_got_again(shards, served) -> None:
    images = open_set(f"webdataset:{served[0]}/out", "train")
    expected = images.read_rgb(0).tobytes()
    shutil.rmtree(reader.cache_folder() / "shards")
    assert images.read_rgb(0).tobytes() == expected
    assert len(got_shards(served[1])) == 2


def test_foreign_shards_behind_a_url(tar, tmp_path: Path, names: Path, served) -> None:
    for shard in range(3):
        members = []
        for i in range(4):
            members += [(f"{i}.png", picture(4 * shard + i)), (f"{i}.cls", str(i % 3).encode())]
        tar(f"foreign/a-{shard}.tar", members)
    url, got = served
    spec = f"webdataset:{url}/foreign/a-{{0..2}}.tar,names={names}"
    images = open_set(spec, "train")
    local = open_set(f"webdataset:{tmp_path}/foreign/a-{{0..2}}.tar,names={names}", "train")
    assert list(images.sample_ids) == list(local.sample_ids)
    for index in range(12):
        assert images.read_rgb(index).tobytes() == local.read_rgb(index).tobytes()
    open_set(spec, "train")
    assert len(got_shards(got)) == 3
    with pytest.raises(RequestError, match=r"a-3\.tar"):
        open_set(f"webdataset:{url}/foreign/a-{{2..3}}.tar,names={names}", "train")


def test_a_foreign_shard_replaced_at_the_same_size_is_got_again(tar, names: Path, served) -> None:
    """Python's server tells Last-Modified alone, in whole seconds."""
    url, got = served
    spec = f"webdataset:{url}/a.tar,names={names}"
    seen, sizes = [], set()
    for seconds, (grey, label) in enumerate([(10, b"0"), (200, b"1")], 1_000_000_000):
        held = io.BytesIO()
        Image.new("RGB", (4, 4), (grey, grey, grey)).save(held, "BMP")
        path = tar("a.tar", [("0.bmp", held.getvalue()), ("0.cls", label)])
        os.utime(path, (seconds, seconds))
        sizes.add(path.stat().st_size)
        for _ in range(2):
            images = open_set(spec, "train")
            assert images.labels == (int(label),)
            assert images.read_rgb(0).getpixel((0, 0)) == (grey, grey, grey)
        seen.append(images.stamp)
    assert len(sizes) == 1
    assert len(set(seen)) == 2
    assert got_shards(got) == ["/a.tar", "/a.tar"]


@pytest.mark.parametrize(
    "key", ["ETag", "etag", "Content-MD5", "Last-Modified", "LastModified", "last_modified"]
)
def test_what_a_file_system_tells_of_a_version_is_heard(
    tar, names: Path, served, monkeypatch, key: str
) -> None:
    path = tar("a.tar", [("0.png", picture(0)), ("0.cls", b"0")])
    told = ["one", "one", "two"]

    class Store:
        def info(self, _: str) -> dict[str, object]:
            return {"size": path.stat().st_size, key: told.pop(0)}

    monkeypatch.setattr(scan, "file_system", lambda url: (Store(), url))
    stamps = [
        open_set(f"webdataset:{served[0]}/a.tar,names={names}", "train").stamp for _ in range(3)
    ]
    assert stamps[0] == stamps[1] != stamps[2]
    assert len(got_shards(served[1])) == 2


def test_any_file_system_of_fsspec(shards) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(shards), "/bucket/set", recursive=True)
    try:
        for place in ("bucket/set", "bucket/set/test-*.tar", "bucket/set/test-0000{00..19}.tar"):
            images = open_set(f"webdataset:memory://{place}", "train")
            assert len(images) == 120
            for index in (0, 61, 119):
                pixels = np.asarray(images.read_rgb(index))
                assert (pixels == level(images.sample_ids[index])).all()
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("http://127.0.0.1:9/x", "cannot fetch http://127.0.0.1:9/x/index.json: "),
        ("nowhere://x/y", "cannot read 'nowhere://x/y/index.json': Protocol not known"),
    ],
)
def test_what_cannot_be_reached_is_told(place: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        open_set(f"webdataset:{place}", "train")


def test_a_url_without_an_index_is_told(served) -> None:
    with pytest.raises(RequestError, match=r"there is no http.*/index\.json: give tar files"):
        open_set(f"webdataset:{served[0]}/absent", "train")


def test_a_missing_package_is_named(shards, served, monkeypatch) -> None:
    def missing(url: str):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(RequestError, match=r"pip install 'zsrobust\[remote\]'"):
        open_set(f"webdataset:{served[0]}/out", "train")
    with pytest.raises(RequestError, match=r"s3 addresses .*: Install s3fs"):
        open_set("webdataset:s3://bucket/out", "train")
