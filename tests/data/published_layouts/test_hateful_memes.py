"""Hateful Memes: a JSON object a line beside a folder of images."""

import json
from pathlib import Path

import pytest

from zsrobust.data.registry import open_set
from zsrobust.utils.errors import RequestError


@pytest.fixture
def memes(tmp_path: Path, write_flat) -> Path:
    rows = []
    for number, label in ((42953, 1), (1268, 0), (5937, 1)):
        write_flat(tmp_path / f"img/{number:05d}.png", label)
        row = {"id": number, "img": f"img/{number:05d}.png", "label": label, "text": "its a 'meme'"}
        rows.append(json.dumps(row))
    (tmp_path / "test_seen.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "test_unseen.jsonl").write_text(rows[1] + "\n")
    return tmp_path


def test_splits_are_files(memes: Path, agrees) -> None:
    seen = open_set(f"hateful-memes:{memes}", "test")
    assert (seen.split, len(seen)) == ("test_seen", 3)
    assert agrees(seen, [1, 0, 1])
    assert seen.class_names == ("meme", "hatespeech meme")
    assert seen.sample_ids[1] == "img/01268.png"
    assert len(open_set(f"hateful-memes:{memes},split=test_unseen", "test")) == 1


@pytest.mark.parametrize(
    "line",
    ['{"id": 1, "img": "img/01268.png", "text": "no label"}', "{", '["img", 1]'],
)
def test_a_wrong_line_is_named(memes: Path, line: str) -> None:
    with (memes / "test_seen.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RequestError, match=r"test_seen.jsonl line 4 must be"):
        open_set(f"hateful-memes:{memes}", "test")


def test_a_label_out_of_range_is_named(memes: Path) -> None:
    path = memes / "test_seen.jsonl"
    path.write_text(path.read_text().replace('"label": 0', '"label": 2'))
    with pytest.raises(RequestError, match=r"sample img/01268.png the label 2, where 0 to 1"):
        open_set(f"hateful-memes:{memes}", "test")


def test_an_absent_split_and_an_empty_one_are_refused(memes: Path) -> None:
    with pytest.raises(RequestError, match=r"train.jsonl is missing"):
        open_set(f"hateful-memes:{memes}", "train")
    (memes / "dev_seen.jsonl").write_text("")
    with pytest.raises(RequestError, match=r"lists no images"):
        open_set(f"hateful-memes:{memes},split=dev_seen", "test")
