"""What an evaluation does with suites and published sets before its work begins."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsrobust.config.parsing import recipe
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.names import published_spellings
from zsrobust.data.suites import SUITES, Suite
from zsrobust.data.verify import open_readable
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.reporting.tables import accuracy_table
from zsrobust.training.finetune import finetune
from zsrobust.utils.errors import RequestError


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
    monkeypatch.setitem(SUITES, "few", Suite(lambda: members))
    results = evaluate(request(tmp_path, small_clip, "few,resolution=16"))
    rows = [(row.dataset, row.split, row.n, row.resolution) for row in results.rows]
    assert rows == [("eurosat", "all", 20, 16), ("again", "test", 359, 16)]
    seen = results.protocol["data"]["eurosat"]
    assert seen["class_names"][0] == "annual crop land"
    settings = seen[f"under {small_clip}"]
    assert settings["templates"] == ["A centered satellite photo of {}."]
    assert settings["attack_resolution"] == 16


def test_missing_sets_are_refused_before_loading(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="lacks 16 of its 16 sets"):
        evaluate(request(tmp_path, "no-such-model", f"paper16:{tmp_path}"))


def test_all_sets_are_opened_before_one_is_read(eurosat: Path, small_clip: str, tmp_path) -> None:
    broken = eurosat / "eurosat/2750/River/River_1.jpg"
    broken.write_bytes(b"")
    data = (f"eurosat:{eurosat}", "dtd:/absent")
    with pytest.raises(RequestError, match="dtd:/absent"):
        evaluate(request(tmp_path, small_clip, *data))


def test_a_part_of_a_published_set_is_reported(eurosat: Path, capsys) -> None:
    open_readable(f"eurosat:{eurosat},name=satellite", "test", "stop")
    assert "satellite/test has 4 images, the published one 5400" in capsys.readouterr().err


def test_fine_tuning_on_a_suite_is_refused(small_clip: str, tmp_path: Path) -> None:
    config = recipe("pmg_aft", model=small_clip, data="paper16:/x", out=str(tmp_path / "run"))
    with pytest.raises(RequestError, match="'paper16:/x' is a suite of sets"):
        finetune(config)


def test_classes_that_are_one_to_a_model_stop_an_evaluation_before_images_are_read(
    config, tmp_path, monkeypatch
):
    def read(*_, **__):
        raise AssertionError("an image was read")

    with monkeypatch.context() as patch:
        patch.setattr("zsrobust.evaluation.inputs.readable", read)
        with pytest.raises(RequestError, match="glyph-clip cannot tell apart 2 of the 3 classes"):
            evaluate(config(model=["glyph-clip"]))
        # The surrogate's images would be made for classes that it cannot tell apart.
        with pytest.raises(RequestError, match="glyph-clip cannot tell apart"):
            evaluate(config(attack=["transfer(pgd-3, glyph-clip)"]))
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_truncated_prompt_is_warned_of_and_recorded(config, capsys, small_clip):
    long = "a photo of a {} or, as far as anybody here was able to see it then, something like one"
    results = evaluate(config(data=config().data[:1], templates=[long]))
    said = [line for line in capsys.readouterr().err.splitlines() if "longer than" in line]
    assert len(said) == 1
    assert said[0].startswith("warning: one: ")
    (kept,) = results.protocol["data"]["one"][f"under {small_clip}"]["class_name_warnings"]
    assert kept in said[0]
    assert kept in accuracy_table(results).as_markdown()
