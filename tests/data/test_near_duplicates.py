"""The script that looks for evaluation images among the training images."""

import sys

import numpy as np
from PIL import Image
from scripts import near_duplicates

from zsrobust.data.registry import open_set


def test_a_copy_at_another_size_is_found_and_drawn(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cats", "dogs"):
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(3):
                coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                large = Image.fromarray(coarse).resize((80, 80), Image.Resampling.BICUBIC)
                large.save(tmp_path / part / name / f"{index}.png")
    with Image.open(tmp_path / "train" / "dogs" / "1.png", formats=["PNG"]) as image:
        image.resize((64, 64)).save(tmp_path / "test" / "cats" / "copy.jpg")
    train, test = (open_set(f"imagefolder:{tmp_path / part}", part) for part in ("train", "test"))
    (best, at, of), (second, *_), *_ = near_duplicates.nearest(
        test, near_duplicates.thumbnails(train)
    )
    assert (test.sample_ids[at], train.sample_ids[of]) == ("cats/copy.jpg", "dogs/1.png")
    assert best > 0.99 > 0.9 > second

    sheet = tmp_path / "sheet.png"
    argv = ["--train", f"imagefolder:{tmp_path / 'train'}", "--out", str(sheet), "--pairs", "2"]
    argv += ["--data", f"imagefolder:{tmp_path / 'test'}"]
    monkeypatch.setattr(sys, "argv", ["near_duplicates.py", *argv])
    near_duplicates.main()
    assert "test: 7 images, 1 with a correlation" in capsys.readouterr().out
    with Image.open(sheet, formats=["PNG"]) as drawn:
        pixels = np.asarray(drawn.convert("L"), np.float32)
    side = near_duplicates.SHOWN
    left, right = pixels[:side, :side], pixels[:side, side : 2 * side]
    assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.9
