"""What an evaluation does with suites and published sets before its work begins."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsrobust.config import EvaluateConfig
from zsrobust.data.open_readable import open_readable
from zsrobust.data.published.class_names import published_spellings
from zsrobust.data.suites import SUITES, Suite
from zsrobust.errors import RequestError
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.parsing import recipe
from zsrobust.training.finetune import finetune


@pytest.fixture
def eurosat(tmp_path: Path) -> Path:
    for level, name in enumerate(sorted(published_spellings("eurosat"))):
        folder = tmp_path / f"eurosat/2750/{name}"
        folder.mkdir(parents=True)
        for number in range(2):
            pixels = np.full((64, 64, 3), 20 * level, np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{number}.jpg")
    return tmp_path


def request(tmp_path: Path, model: str, *data: str) -> EvaluateConfig:
    return EvaluateConfig(
        model=[model], data=list(data), attack=["pgd-1"], device="cpu", out=str(tmp_path / "out")
    )


def test_a_suite_becomes_rows(eurosat: Path, small_clip: str, tmp_path, monkeypatch) -> None:
    members = (f"eurosat:{eurosat}/eurosat/2750,split=all", "digits,name=again")
    monkeypatch.setitem(SUITES, "few", Suite(members))
    results = evaluate(request(tmp_path, small_clip, "few,resolution=16"))
    rows = [(row.dataset, row.split, row.n, row.resolution) for row in results.rows]
    assert rows == [("eurosat", "all", 20, 16), ("again", "test", 359, 16)]
    seen = results.protocol["data"]["eurosat"]
    assert seen["class_names"][0] == "annual crop land"
    under = seen[f"under {small_clip}"]
    assert under["templates"] == ["A centered satellite photo of {}."]
    assert under["attack_resolution"] == 16


def test_missing_sets_are_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="lacks 16 of its 16 sets"):
        evaluate(request(tmp_path, "no-such-model", f"paper16:{tmp_path}"))


def test_all_sets_are_opened_before_one_is_read(eurosat: Path, small_clip: str, tmp_path) -> None:
    broken = eurosat / "eurosat/2750/River/River_1.jpg"
    broken.write_bytes(b"")
    data = (f"eurosat:{eurosat}", "dtd:/absent")
    with pytest.raises(RequestError, match="dtd:/absent"):
        evaluate(request(tmp_path, small_clip, *data))


def test_a_part_of_a_published_set_is_told(eurosat: Path, capsys) -> None:
    open_readable(f"eurosat:{eurosat},name=satellite", "test", "stop")
    assert "satellite/test has 4 images, the published one 5400" in capsys.readouterr().err


def test_fine_tuning_on_a_suite_is_refused(small_clip: str, tmp_path: Path) -> None:
    config = recipe("pmg_aft", model=small_clip, data="paper16:/x", out=str(tmp_path / "run"))
    with pytest.raises(RequestError, match="'paper16:/x' is a suite of sets"):
        finetune(config)
