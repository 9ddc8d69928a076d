import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from zsrobust.cli.main import main
from zsrobust.data.image_folder import image_folder
from zsrobust.data.image_set import ImageSet
from zsrobust.data.registry import open_set
from zsrobust.data.shards.write import write_shards
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError, RunError


@pytest.fixture
def photos(tmp_path: Path, write_image) -> ImageSet:
    """Three classes of 5 images in four formats, one of them at the wrong suffix."""
    for i in range(15):
        suffix = ("jpg", "png", "webp", "tif")[i % 4]
        write_image(tmp_path / f"photos/kind {i % 3}/a.{i}.{suffix}", (14 + i, 12), seed=i)
    (tmp_path / "photos/kind 0/a.0.jpg").write_bytes(
        (tmp_path / "photos/kind 1/a.1.png").read_bytes()
    )
    return image_folder(tmp_path / "photos")


def write(images: ImageSet, out: Path, a_shard: int = 4) -> None:
    write_shards(images, out, a_shard, lambda done: None)


def assert_same_images(found: ImageSet, expected: ImageSet) -> None:
    at = {sample_id: index for index, sample_id in enumerate(expected.sample_ids)}
    assert sorted(found.sample_ids) == sorted(at)
    assert found.class_names == expected.class_names
    for index, sample_id in enumerate(found.sample_ids):
        assert found.labels[index] == expected.labels[at[sample_id]]
        one, other = found.read_rgb(index), expected.read_rgb(at[sample_id])
        assert (one.size, one.tobytes()) == (other.size, other.tobytes())


def test_shards_read_as_the_set_they_were_written_from(photos: ImageSet, tmp_path: Path) -> None:
    photos = dataclasses.replace(photos, templates=("a {}",), native_size=12)
    write(photos, tmp_path / "out")
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    assert_same_images(found, photos)
    for key in ("name", "split", "templates", "native_size", "origin"):
        assert getattr(found, key) == getattr(photos, key), key
    tifs = [name for name in photos.sample_ids if name.endswith("tif")]
    assert tifs, "a format that no shard holds was among them"


def test_photographs_as_phones_write_them_keep_their_bytes_and_are_upright(
    photos: ImageSet, tmp_path: Path
) -> None:
    image, exif = Image.open(photos.where(0)).convert("RGB"), Image.Exif()
    exif[0x0112] = 8
    names = {"jpg": "MPO", "jfif": "JPEG", "png": "PNG", "tif": "TIFF"}
    for suffix, form in names.items():
        more = {"save_all": True, "append_images": [image]} if form == "MPO" else {}
        image.save(tmp_path / f"photos/kind 0/turned.{suffix}", form, exif=exif, **more)
    photos = image_folder(tmp_path / "photos")
    write(photos, tmp_path / "out")
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    assert_same_images(found, photos)
    for index, sample_id in enumerate(found.sample_ids):
        if "turned" in sample_id:
            assert found.read_rgb(index).size == image.size[::-1]
            stored = (tmp_path / "photos" / sample_id).read_bytes()
            assert (found.read_image.encoded(index) == stored) == (not sample_id.endswith("tif"))


def test_the_webdataset_library_reads_the_same(photos: ImageSet, tmp_path: Path) -> None:
    write(photos, tmp_path / "out")
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert [shard["samples"] for shard in index["shards"]] == [4, 4, 4, 3]
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    urls = [str(tmp_path / "out" / shard["name"]) for shard in index["shards"]]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pilrgb"))
    assert len(samples) == 15
    for position, sample in enumerate(samples):
        (image,) = (sample[key] for key in ("jpg", "png", "webp") if key in sample)
        assert sample["cls"] == found.labels[position]
        np.testing.assert_array_equal(np.asarray(image), np.asarray(found.read_rgb(position)))


def test_files_are_stored_as_they_are_and_the_index_tells_hashes(photos, tmp_path: Path) -> None:
    write(photos, tmp_path / "out")
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    for index, sample_id in enumerate(found.sample_ids):
        if not sample_id.endswith("tif"):
            stored = (tmp_path / "photos" / sample_id).read_bytes()
            assert found.read_image.encoded(index) == stored
    for shard in json.loads((tmp_path / "out/index.json").read_text())["shards"]:
        content = (tmp_path / "out" / shard["name"]).read_bytes()
        assert len(content) == shard["bytes"]
        assert hashlib.sha256(content).hexdigest() == shard["sha256"]


def test_a_file_is_named_by_what_it_is(photos, tmp_path: Path) -> None:
    assert photos.sample_ids[0] == "kind 0/a.0.jpg", "a PNG at the wrong suffix"
    write(photos.subset([0]), tmp_path / "out")
    with tarfile.open(tmp_path / "out/all-000000.tar") as archive:
        assert archive.getnames() == ["000000000.png", "000000000.cls"]


def test_pixels_in_memory_and_subsets_are_written(memory_set, photos, tmp_path: Path) -> None:
    memory = memory_set([0, 1, 2, 1, 0])
    write(memory, tmp_path / "memory")
    assert_same_images(open_set(f"webdataset:{tmp_path / 'memory'}", "test"), memory)
    some = photos.subset([3, 1, 8])
    write(some, tmp_path / "some")
    assert_same_images(open_set(f"webdataset:{tmp_path / 'some'}", "test"), some)


def test_shards_of_shards_hold_the_same_bytes(photos: ImageSet, tmp_path: Path) -> None:
    write(photos, tmp_path / "one", 4)
    write(open_set(f"webdataset:{tmp_path / 'one'}", "test"), tmp_path / "two", 7)
    write(photos, tmp_path / "direct", 7)
    for shard in ("all-000000.tar", "all-000001.tar", "all-000002.tar"):
        one, other = ((tmp_path / out / shard).read_bytes() for out in ("two", "direct"))
        assert one == other


def test_classes_are_mixed_within_a_shard(memory_set, tmp_path: Path) -> None:
    write(memory_set([label for label in range(4) for _ in range(50)]), tmp_path / "out", 50)
    labels = open_set(f"webdataset:{tmp_path / 'out'}", "test").labels
    for at in range(0, 200, 50):
        assert len(set(labels[at : at + 50])) == 4


def test_a_pattern_takes_some_of_the_shards(photos: ImageSet, tmp_path: Path) -> None:
    write(photos, tmp_path / "out")
    whole = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    part = open_set(f"webdataset:{tmp_path}/out/all-{{000001..000002}}.tar", "test")
    assert list(part.sample_ids) == list(whole.sample_ids[4:12])
    assert part.read_rgb(0).tobytes() == whole.read_rgb(4).tobytes()
    with pytest.raises(
        RequestError, match=r"asks for .*000009\.tar, but .*lists all-000000\.tar to all-0"
    ):
        open_set(f"webdataset:{tmp_path}/out/all-000009.tar", "test")


def test_a_written_set_is_not_read_before_work(photos, tmp_path: Path, monkeypatch) -> None:
    write(photos, tmp_path / "out")
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    monkeypatch.setattr(ImageSet, "read_rgb", lambda *_: pytest.fail("an image was read"))
    assert len(verify(found, "stop")[0]) == 15


def rewrite(out: Path, key: str, value: object) -> None:
    """Change the first shard's entry in the index."""
    index = json.loads((out / "index.json").read_text())
    index["shards"][0][key] = value
    (out / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / "all-000001.tar").unlink(), r"cannot read the shard .*000001\.tar"),
        (
            lambda out: (out / "all-000001.tar").write_bytes(b"short"),
            r"000001\.tar has 5 bytes and index\.json says 20,480: copy it again",
        ),
        (lambda out: (out / "samples.parquet").unlink(), r"there is no .*samples\.parquet"),
        (
            lambda out: (out / "samples.parquet").write_bytes(b"x"),
            r"samples\.parquet is not the file that index\.json was written with",
        ),
        (lambda out: (out / "index.json").write_text("{"), r"index\.json is no index of shards"),
        (lambda out: (out / "index.json").write_text('{"schema": 2}'), "another schema"),
        (lambda out: (out / "index.json").write_text("[]"), "is no index of shards"),
        (lambda out: rewrite(out, "name", "../../x.tar"), "shard's name '../../x.tar'"),
        (lambda out: rewrite(out, "sha256", "../../x"), "the SHA-256 of all-000000.tar"),
        (lambda out: rewrite(out, "bytes", -1), "the bytes of all-000000.tar"),
    ],
)
def test_damage_is_told_at_once(photos, tmp_path: Path, damage, message: str) -> None:
    write(photos, tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(RequestError, match=message):
        open_set(f"webdataset:{tmp_path / 'out'}", "test")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("split", "../../x", "the split '../../x'"),
        ("split", ".hidden", "the split '.hidden'"),
        ("split", "a\\b", "the split"),
        ("split", "test\n", "the split"),
        ("split", "", "the split ''"),
        ("split", ["test"], "the split"),
        ("name", 3, "the name 3"),
        ("origin", None, "the origin None"),
        ("native_size", "32", "the native size '32'"),
        ("native_size", True, "the native size True"),
        ("native_size", 0, "the native size 0"),
        ("templates", [3], "the templates"),
        ("templates", "a {}", "the templates"),
    ],
)
def test_an_index_is_not_trusted(photos, tmp_path: Path, key: str, value, message: str) -> None:
    write(photos, tmp_path / "out")
    path = tmp_path / "out/index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({**index, key: value}))
    with pytest.raises(RequestError, match=r"index\.json is no index of shards") as caught:
        open_set(f"webdataset:{tmp_path / 'out'}", "test")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("split", "name"),
    [
        ("../../beside/x", "_._.._beside_x"),
        ("/etc/x", "_etc_x"),
        (".hidden", "_hidden"),
        ("for a look", "for_a_look"),
        ("été-2.b", "été-2.b"),
    ],
)
def test_a_split_leads_nowhere(photos, tmp_path: Path, split: str, name: str) -> None:
    (tmp_path / "beside").mkdir()
    out = tmp_path / "deep/out"
    write(dataclasses.replace(photos, split=split), out, 15)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [f"{name}-000000.tar", "index.json", "samples.parquet"]
    )
    assert not list((tmp_path / "beside").iterdir())
    found = open_set(f"webdataset:{out}", "test")
    assert found.split == name
    assert_same_images(found, photos)


def test_the_stamp_changes_with_the_pixels(tmp_path: Path, write_image) -> None:
    """Uncompressed images of one size: the ids, labels, offsets and sizes stay as they were."""
    stamps = []
    for seed, name in ((0, "one"), (1, "two"), (0, "again")):
        for label in ("cat", "dog"):
            write_image(tmp_path / f"set/{label}/0.bmp", (6, 5), seed=seed)
        write(image_folder(tmp_path / "set"), tmp_path / name)
        stamps.append(open_set(f"webdataset:{tmp_path / name}", "test").stamp)
    samples = [(tmp_path / name / "samples.parquet").read_bytes() for name in ("one", "two")]
    assert samples[0] == samples[1]
    assert stamps[0] != stamps[1]
    assert stamps[0] == stamps[2]


def test_what_the_index_tells_is_not_asked(photos, tmp_path: Path, names: Path) -> None:
    write(photos, tmp_path / "out")
    for option in (f"names={names}", "image=jpg", "label=cls"):
        with pytest.raises(RequestError, match=r"which index\.json of .* defines"):
            open_set(f"webdataset:{tmp_path / 'out'},{option}", "test")
    with pytest.raises(RequestError, match="no split 'test': it has all"):
        open_set(f"webdataset:{tmp_path / 'out'},split=test", "test")


def test_a_shard_that_changes_later_fails_in_one_sentence(photos, tmp_path: Path) -> None:
    write(photos, tmp_path / "out")
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    (tmp_path / "out/all-000000.tar").write_bytes(b"")
    with pytest.raises(RunError, match=r"cannot read image photos/all .*000000\.tar is cut short"):
        found.read_rgb(0)


def test_an_image_that_cannot_be_read_leaves_no_folder(photos, tmp_path: Path) -> None:
    Path(photos.where(2)).write_bytes(b"")
    with pytest.raises(RunError, match="cannot read image"):
        write(photos, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_the_command(photos, tmp_path: Path, capsys) -> None:
    spec, out = f"imagefolder:{tmp_path / 'photos'}", tmp_path / "out"
    assert main(["data", "shard", spec, "--out", str(out), "--shard-size", "10"]) == 0
    assert "15 images of photos/all are in 2 shards" in capsys.readouterr().out
    assert_same_images(open_set(f"webdataset:{out}", "train"), photos)
    assert main(["data", "shard", spec, "--out", str(out)]) == 2
    assert "is there already: give a new folder" in capsys.readouterr().err
    assert main(["data", "shard", spec, "--out", str(tmp_path / "o"), "--shard-size", "0"]) == 2
    assert main(["data", "shard", spec]) == 2
    assert "--out" in capsys.readouterr().err


def test_large_modes_survive(tmp_path: Path) -> None:
    """16-bit grey, a palette with transparency and CMYK are read alike from files and shards."""
    levels = (np.arange(120, dtype=np.uint16) * 500).reshape(10, 12)
    Image.fromarray(levels).save(_made(tmp_path / "modes/a/grey.png"))
    Image.new("CMYK", (6, 5), (10, 90, 30, 5)).save(_made(tmp_path / "modes/b/print.jpg"))
    palette = Image.new("P", (4, 4))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    held = io.BytesIO()
    palette.save(held, "GIF", transparency=0)
    _made(tmp_path / "modes/b/palette.gif").write_bytes(held.getvalue())
    write(image_folder(tmp_path / "modes"), tmp_path / "out")
    found = open_set(f"webdataset:{tmp_path / 'out'}", "test")
    assert_same_images(found, image_folder(tmp_path / "modes"))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
