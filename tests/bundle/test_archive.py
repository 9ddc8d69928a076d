import io
import json
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsrobust.bundle.archive import pack, read_archive, unpack
from zsrobust.utils.errors import RequestError


def members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_found(data, bundle):
    changed = bytearray(bundle)
    at = data.draw(st.integers(0, len(bundle) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RequestError) as told:
        unpack(bytes(changed), "FILE")
    assert str(told.value).startswith("FILE ")
    assert "\n" not in str(told.value)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_missing_or_further_byte_is_found(data, bundle):
    at = data.draw(st.integers(0, len(bundle) - 1))
    end = at + data.draw(st.sampled_from([1, 7, 4096]))
    more = data.draw(st.binary(min_size=1, max_size=9))
    for changed in (bundle[:at] + bundle[end:], bundle[:at] + more + bundle[at:], bundle + more):
        with pytest.raises(RequestError):
            unpack(changed, "FILE")


def test_a_manifest_with_the_hashes_of_other_files_is_found(bundle):
    files = members(bundle)
    manifest = json.loads(files["manifest.json"])
    manifest["package"] = "9.9"
    text = json.dumps(manifest, indent=1).encode() + b"\n"
    with pytest.raises(RequestError, match="writes other bytes"):
        unpack(zipped(sorted({**files, "manifest.json": text}.items())), "FILE")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: zipped([*f.items(), ("../../evil.py", b"")]), r"holds '../../evil.py'"),
        (lambda f: zipped([*f.items(), ("/etc/passwd", b"")]), r"holds '/etc/passwd'"),
        (lambda f: zipped([*f.items(), ("image.png", b"")]), r"holds 'image.png'"),
        (lambda f: zipped(list(f.items())[:2]), r"it has no results.json"),
        (lambda f: zipped([]), "no manifest.json and no outcomes.parquet and no results.json"),
        (
            lambda f: zipped({**f, "results.json": b" " * (1 << 24)}.items(), zipfile.ZIP_DEFLATED),
            "compressed",
        ),
        (lambda f: b"", "no whole zip archive"),
        (lambda f: f["outcomes.parquet"], "no whole zip archive"),
        (lambda f: zipped({**f, "manifest.json": b"[" * 99999}.items()), "damaged"),
        (lambda f: zipped({**f, "manifest.json": b"[]"}.items()), "damaged"),
        (
            lambda f: zipped({**f, "manifest.json": b'{"format": 2}'}.items()),
            "has format 2: this version reads 1",
        ),
        (lambda f: zipped({**f, "manifest.json": b'{"format": 1}'}.items()), "does not have the"),
    ],
)
def test_what_is_no_bundle_is_refused_in_a_sentence(change, said, bundle):
    with pytest.raises(RequestError, match=said):
        unpack(change(members(bundle)), "FILE")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(bundle):
    files = members(bundle)
    twice = [*files.items(), ("results.json", b"{}")]
    with pytest.raises(RequestError, match=r"holds results.json twice"):
        unpack(zipped(twice), "FILE")


def test_equal_contents_give_equal_bytes(bundle):
    archive = unpack(bundle, "FILE")
    assert pack(archive.manifest, archive.results, archive.outcomes) == bundle
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert archive.namelist() == ["manifest.json", "outcomes.parquet", "results.json"]
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        read_archive(tmp_path / "nothing.zip")
    with pytest.raises(RequestError, match="is not a file"):
        read_archive(tmp_path)
    with (tmp_path / "large.zip").open("wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(RequestError, match="too large"):
        read_archive(tmp_path / "large.zip")
