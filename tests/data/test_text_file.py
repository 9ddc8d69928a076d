from pathlib import Path

import pytest

from zsrobust.data.csv_set import csv_set
from zsrobust.data.specification import parse_specification
from zsrobust.data.text_file import MOST_BYTES, read_text
from zsrobust.utils.errors import RequestError


def test_the_text_without_the_mark(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"\xef\xbb\xbfcaf\xc3\xa9\n")
    assert read_text(tmp_path / "names", "list") == "café\n"


def test_what_is_no_such_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for name, message in (
        ("latin", "the list .*latin is not UTF-8"),
        ("large", "the list .*large has more than 16,777,216 bytes"),
        ("absent", "cannot read the list .*absent: No such file"),
        (".", "is no file"),
    ):
        with pytest.raises(RequestError, match=message):
            read_text(tmp_path / name, "list")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no endless file")
def test_a_file_without_an_end_is_refused_at_once() -> None:
    with pytest.raises(RequestError, match="the class-name file /dev/zero is no file"):
        read_text(Path("/dev/zero"), "class-name file")
    with pytest.raises(RequestError, match="the templates file /dev/zero is no file"):
        parse_specification("csv:list.csv,templates=/dev/zero")
    with pytest.raises(RequestError, match="/dev/zero is no file: give a CSV file"):
        csv_set(parse_specification("csv:/dev/zero"), "test")


def test_a_home_of_nobody_is_told() -> None:
    with pytest.raises(RequestError, match="begins with no user's home"):
        parse_specification("imagefolder:~nobody-has-this-name/photos")
