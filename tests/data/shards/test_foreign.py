import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from zsrobust.data.registry import open_set
from zsrobust.data.shards import scan
from zsrobust.data.shards.places import folder_of, last_part, spelled_out
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError

from .conftest import picture


def test_shards_of_the_webdataset_library(tmp_path: Path, names: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 11, 3), np.uint8)
    with webdataset.ShardWriter(f"{tmp_path}/birds-%03d.tar", maxcount=3, verbose=0) as writer:
        for i in range(7):
            sample = {"__key__": f"here/bird{i}", "png": Image.fromarray(pixels[i]), "cls": i % 3}
            writer.write(sample)
    found = open_set(f"webdataset:{tmp_path}/birds-{{000..002}}.tar,names={names}", "test")
    assert found.class_names == ("Owl", "Tit", "Duck")
    assert list(found.labels) == [0, 1, 2, 0, 1, 2, 0]
    assert found.sample_ids[4] == "birds-001.tar/here/bird4"
    for i in range(7):
        np.testing.assert_array_equal(np.asarray(found.read_rgb(i)), pixels[i])
    for other in (f"{tmp_path}/birds-*.tar", f"{tmp_path}"):
        same = open_set(f"webdataset:{other},names={names}", "test")
        assert list(same.sample_ids) == list(found.sample_ids)
    assert verify(found, "stop")[0].stamp


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_and_long_names(tar, names: Path, kind: int) -> None:
    folder = tarfile.TarInfo("x")
    folder.type = tarfile.DIRTYPE
    long = "x/" + ("long" * 30 if kind != tarfile.USTAR_FORMAT else "short")
    members = [
        (folder, b""),
        ("x/._hidden.jpg", b"junk"),
        (f"{long}.JPG", picture(1, "jpg")),
        (f"{long}.json", b'{"label": 2, "caption": "a duck"}'),
        ("x/é.png", picture(2)),
        ("x/é.cls", b"Tit\n"),
        ("x/é.seg.png", b"no image of its own"),
    ]
    found = open_set(f"webdataset:{tar('a.tar', members, kind)},names={names}", "test")
    assert list(found.sample_ids) == [f"a.tar/{long}", "a.tar/x/é"]
    assert list(found.labels) == [2, 1]
    for index, content in enumerate((picture(1, "jpg"), picture(2))):
        assert found.read_rgb(index).tobytes() == Image.open(io.BytesIO(content)).tobytes()


def test_other_suffixes_of_jpeg_are_images_and_one_class_alone_is_refused(tar, tmp_path) -> None:
    members = [("a.jfif", picture(1, "jpg")), ("a.cls", b"0")]
    path, names = tar("a.tar", members), tmp_path / "two.txt"
    names.write_text("Owl\nTit\n")
    assert open_set(f"webdataset:{path},names={names}", "test").read_rgb(0).mode == "RGB"
    names.write_text("Owl\n")
    with pytest.raises(RequestError, match=r"one class alone \(Owl\)"):
        open_set(f"webdataset:{path},names={names}", "test")


def test_labels_come_from_cls_then_json(tar, names: Path) -> None:
    path = tar(
        "a.tar",
        [
            ("0.jpg", picture(1, "jpg")),
            ("0.json", b'{"label": 2, "colour": 1}'),
            ("1.png", picture(2)),
            ("1.cls", b" 1\n"),
            ("1.json", b'{"label": 0, "colour": "Owl"}'),
            ("2.webp", picture(3, "webp")),
            ("2.cls", b"Duck"),
            ("2.json", b'{"colour": 2}'),
        ],
    )
    spec = f"webdataset:{path},names={names}"
    assert list(open_set(spec, "test").labels) == [2, 1, 2]
    assert list(open_set(f"{spec},label=colour", "test").labels) == [1, 0, 2]


def test_one_of_several_images_is_named(tar, names: Path) -> None:
    members = [("0.jpg", picture(1, "jpg")), ("0.png", picture(2)), ("0.cls", b"0")]
    spec = f"webdataset:{tar('a.tar', members)},names={names}"
    with pytest.raises(RequestError, match=r"'0' has 2 images \(jpg, png, cls\): .*image="):
        open_set(spec, "test")
    found = open_set(f"{spec},image=png", "test")
    expected = Image.open(io.BytesIO(picture(2))).tobytes()
    assert found.read_rgb(0).tobytes() == expected


def _link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("1.png")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


GOOD_KINDS = [("png", picture(0)), ("cls", b"0")]
GOOD = [(f"0.{kind}", content) for kind, content in GOOD_KINDS]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../../evil.png", b"x")], "'../../evil.png', a name that leads outside of it"),
        ([("/etc/cron.d/evil.png", b"x")], "a name that leads outside"),
        ([("a/../../evil.png", b"x")], "a name that leads outside"),
        ([(_link(tarfile.SYMTYPE), b"")], "'1.png', which is a link"),
        ([(_link(tarfile.LNKTYPE), b"")], "'1.png', which is a link"),
        ([(_link(tarfile.FIFOTYPE), b"")], "'1.png', which is a link, a device"),
        ([("1.png", b"x")], "'1' has no label: it needs a member .cls, or .json"),
        ([("1.png", b"x"), ("1.cls", b"9")], "'a.tar/1' has the label '9': .*labels 0 to 2"),
        ([("1.png", b"x"), ("1.cls", b"hen")], "'a.tar/1' has the label 'hen'"),
        ([("1.png", b"x"), ("1.cls", b"\xff")], "a label that is not UTF-8"),
        ([("1.png", b"x"), ("1.cls", bytes(2 << 20))], "a label of 2,097,152 bytes"),
        ([("1.png", b"x"), ("1.json", b"{}")], "a .json without the field 'label'"),
        ([("1.png", b"x"), ("1.json", b"[1]")], "a .json without the field 'label'"),
        ([("1.png", b"x"), ("1.json", b'{"label": 1.5}')], "must be a number or a word"),
        ([("1.png", b"x"), ("1.json", b'{"label": true}')], "must be a number or a word"),
        ([("0.PNG", b"x")], "'0.PNG' twice"),
        ([("readme.txt", b"x")], "'readme' has no image"),
    ],
)
def test_what_a_shard_must_not_hold_is_told(tar, names: Path, members, message: str) -> None:
    path = tar("a.tar", [*GOOD, *members])
    with pytest.raises(RequestError, match=message) as caught:
        open_set(f"webdataset:{path},names={names}", "test")
    assert "a.tar" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_with_holes_is_refused(tmp_path: Path, names: Path) -> None:
    """GNU's sparse members store bytes elsewhere than a plain reading would look."""
    member = tarfile.TarInfo("1.png")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(RequestError, match="has holes"):
        open_set(f"webdataset:{tmp_path}/a.tar,names={names}", "test")


def test_every_cut_is_told(tar, names: Path) -> None:
    path = tar("a.tar", [*GOOD, ("1.png", picture(1)), ("1.cls", b"1")])
    content = path.read_bytes()
    used = len(content.rstrip(b"\0"))
    cuts = [*range(0, used + 512, 97), *range(0, used + 512, 512)]
    assert len(cuts) > 12
    for cut in cuts:
        path.write_bytes(content[:cut])
        with pytest.raises(RequestError, match=r"a\.tar (is cut short|is no uncompressed tar)"):
            open_set(f"webdataset:{path},names={names}", "test")


def _headers(path: Path) -> list[int]:
    """Where the header of each member begins."""
    with tarfile.open(path) as archive:
        return [member.offset for member in archive]


def test_a_damaged_header_anywhere_is_told(tar, names: Path) -> None:
    members = [(f"{i}.{kind}", content) for i in range(3) for kind, content in GOOD_KINDS]
    path = tar("a.tar", members)
    content, headers = path.read_bytes(), _headers(path)
    assert len(headers) == 6
    for header in headers[1:]:
        for damage in (content[header + 150] ^ 0xFF).to_bytes(), bytes(512):
            at = header + (150 if len(damage) == 1 else 0)
            path.write_bytes(content[:at] + damage + content[at + len(damage) :])
            with pytest.raises(RequestError, match=rf"a\.tar is damaged after {header:,} bytes"):
                open_set(f"webdataset:{path},names={names}", "test")


def test_joined_tar_files_are_refused(tar, names: Path) -> None:
    first = tar("a.tar", GOOD)
    second = tar("b.tar", [("1.png", picture(1)), ("1.cls", b"1")])
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(RequestError, match=r"a\.tar .* other tar files were joined to it"):
        open_set(f"webdataset:{first},names={names}", "test")


def test_any_length_of_zeros_may_end_a_tar_file(tar, names: Path) -> None:
    path = tar("a.tar", GOOD)
    used = _headers(path)[-1] + 1024
    content = path.read_bytes()[:used]
    for zeros in (512, 1024, 1024 + 7, 3 << 20):
        path.write_bytes(content + bytes(zeros))
        assert len(open_set(f"webdataset:{path},names={names}", "test")) == 1
    path.write_bytes(content + bytes(3 << 20) + b"\1")
    with pytest.raises(RequestError, match=rf"a\.tar is damaged after {used:,} bytes"):
        open_set(f"webdataset:{path},names={names}", "test")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 8, b"\x1f\x8b" * 500])
def test_other_files_are_refused(tmp_path: Path, names: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(RequestError, match=r"a\.tar (is no uncompressed tar file|is cut short)"):
        open_set(f"webdataset:{tmp_path}/a.tar,names={names}", "test")


def test_an_empty_archive_and_wrong_requests(tar, tmp_path: Path, names: Path) -> None:
    path = tar("a.tar", [])
    for spec, message in [
        (f"webdataset:{path},names={names}", "holds no samples"),
        (f"webdataset:{path}", "has no index.json, so the classes must be named: give names=FILE"),
        (f"webdataset:{path},names={names},split=val", "no split 'val': it has all"),
        (f"webdataset:{tmp_path}/b-*.tar,names={names}", "finds no shards: give tar files"),
        (f"webdataset:{tmp_path}/b-{{0..1}}.tar,names={names}", r"cannot read .*b-0\.tar"),
        (f"webdataset:{tmp_path}/b-{{0.tar,names={names}", "the pattern .* is wrong"),
        ("webdataset", "lacks its path: write webdataset:PATH"),
    ]:
        with pytest.raises(RequestError, match=message):
            open_set(spec, "test")


def test_two_shards_of_one_name_are_refused(tar, tmp_path: Path, names: Path) -> None:
    tar("one/a.tar", GOOD)
    tar("two/a.tar", GOOD)
    with pytest.raises(RequestError, match="have one name"):
        open_set(f"webdataset:{tmp_path}/{{one,two}}/a.tar,names={names}", "test")


def test_headers_are_read_once_until_the_shard_changes(tar, names: Path, monkeypatch) -> None:
    path = tar("a.tar", GOOD)
    spec = f"webdataset:{path},names={names}"
    before = open_set(spec, "test")
    with monkeypatch.context() as patch:
        patch.setattr(scan, "_read_rows", lambda *_: pytest.fail("read again"))
        assert open_set(spec, "test").stamp == before.stamp
    tar("a.tar", [*GOOD, ("1.png", picture(1)), ("1.cls", b"1")])
    os.utime(path, ns=(1, 1))
    after = open_set(spec, "test")
    assert (len(before), len(after)) == (1, 2)
    assert after.stamp != before.stamp


def test_a_damaged_image_is_found_before_work(tar, names: Path) -> None:
    path = tar("a.tar", [*GOOD, ("1.png", picture(1)[:90]), ("1.cls", b"1")])
    images = open_set(f"webdataset:{path},names={names}", "test")
    with pytest.raises(RequestError, match=r"1 of 2 images .* a\.tar/1"):
        verify(images, "stop")
    assert verify(images, "skip")[1] == ["a.tar/1"]


@pytest.mark.parametrize(
    ("place", "folder", "last"),
    [
        ("https://h/a/b-0.tar?sig=x/y.z", "https://h/a", "b-0.tar"),
        ("s3://bucket/a/b-?.tar", "s3://bucket/a", "b-?.tar"),
        ("a/b.tar", "a", "b.tar"),
        ("b.tar", ".", "b.tar"),
        ("https://h/a/", "https://h/a", "a"),
    ],
)
def test_a_place_is_taken_apart(place: str, folder: str, last: str) -> None:
    assert (folder_of(place), last_part(place)) == (folder, last)


def test_braces_are_spelled_out_and_stars_looked_up(tmp_path: Path) -> None:
    for name in ("a-0.tar", "a-1.tar", "b.tar", "deep/c.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    spelled = spelled_out(f"{tmp_path}/{{a-*,b,absent}}.tar")
    assert spelled == [f"{tmp_path}/{name}.tar" for name in ("a-0", "a-1", "absent", "b")]
    assert spelled_out(f"{tmp_path}/*/*.tar") == [f"{tmp_path}/deep/c.tar"]
    urls = spelled_out("https://h/x-{08..11}.tar?sig=a")
    assert urls == [f"https://h/x-{n}.tar?sig=a" for n in ("08", "09", "10", "11")]
