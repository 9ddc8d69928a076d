"""What a run had so far is no fine-tuned model, in the run folder and in a copy of its model."""

import json
import shutil

import pytest

from zsrobust.cli.main import main
from zsrobust.export.command import export
from zsrobust.export.request import ExportRequest
from zsrobust.models.loading import load
from zsrobust.models.weights import mark_finished, save_model
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

RECORD = {
    "step": 3,
    "total_steps": 30,
    "finished": False,
    "training_set": {"name": "birds", "split": "train", "n": 1234},
    "settings": {"method": "tecoa", "attack": {"eps": "4/255"}, "batch_size": 77, "seed": 5},
    "held_out": {"clean_acc": 0.875, "robust_acc": 0.25, "n": 64, "attack": "pgd-10 at 4/255"},
}
SHOWN = ("3 of 30", "4/255", "batch_size: 77", "seed: 5", "1,234 images", "87.5 %", "25.0 %")
SHOWN += ("64 held-out images", "pgd-10 at 4/255")


@pytest.fixture
def stopped(source, tuned, tmp_path):
    """The model folder of a run at step 3 of 30."""
    model = load(tuned(source(quick_gelu=True)))
    save_model(tmp_path / "run" / "model", model, "tecoa", **RECORD)
    return tmp_path / "run" / "model"


def asked(model, tmp_path, to="tecoa", **options):
    return ExportRequest(str(model), to, out=str(tmp_path / f"out-{to}"), **options)


def test_it_is_refused_unless_asked_for(stopped, tmp_path, capsys):
    copied = shutil.copytree(stopped, tmp_path / "copied")
    for name in (stopped, stopped.parent, copied, f"wise({copied}, 0.5)"):
        with pytest.raises(RequestError, match=r"step 3 of 30, not finished.*--unfinished true"):
            export(asked(name, tmp_path))
    expected = ["export", str(copied), "--to", "tecoa", "--out", str(tmp_path / "out")]
    assert main([*expected, "--unfinished", "true"]) == 0
    assert "step 3 of 30, not finished" in capsys.readouterr().err
    assert main(["push", str(tmp_path / "out"), "me/model"]) != 0
    assert "step 3 of 30, not finished" in capsys.readouterr().err
    mark_finished(copied)
    assert main([*expected, "--overwrite", "true"]) == 0
    assert "not finished" not in capsys.readouterr().err


@pytest.mark.parametrize("to", ["open_clip", "transformers", "onnx", "tecoa"])
def test_every_card_tells_of_the_run(stopped, tmp_path, to):
    card = (export(asked(stopped, tmp_path, to, unfinished=True)).folder / "README.md").read_text()
    assert all(expected in card for expected in (*SHOWN, "not finished"))
    mark = json.loads((tmp_path / f"out-{to}" / "zsrobust_export.json").read_text())
    assert mark["training"] == RECORD


def test_a_finished_run_is_described_as_finished(stopped, tmp_path):
    mark_finished(stopped)
    card = (export(asked(stopped, tmp_path)).folder / "README.md").read_text()
    assert all(expected in card for expected in (*SHOWN, "the run finished"))
    assert "not finished" not in card


def test_a_card_says_that_the_model_has_collapsed(source, tuned, tmp_path):
    told = {"warning": "at step 3 the model predicts 'owl' for 100.0% of the held-out images"}
    record = {**RECORD, "finished": True, "held_out": RECORD["held_out"] | told}
    save_model(tmp_path / "model", load(tuned(source(quick_gelu=True))), "tecoa", **record)
    card = (export(asked(tmp_path / "model", tmp_path)).folder / "README.md").read_text()
    assert "**Warning: at step 3" in card
    assert "100.0%" in card


def test_unknown_facts_are_left_out(stopped, tmp_path):
    mark_finished(stopped)
    # Weights of their own, between the run's and the original's: the run's accuracy is not theirs.
    between = export(asked(f"wise({stopped}, 0.5)", tmp_path)).folder
    assert "held-out" not in (between / "README.md").read_text()
    base = load(str(stopped)).source
    foreign = asked(f"{base}@{between / 'model.pth.tar'}", tmp_path, overwrite=True)
    card = (export(foreign).folder / "README.md").read_text()
    assert not any(expected in card for expected in (*SHOWN, "finished", "optimizer step"))


def test_a_file_on_a_run_is_not_of_that_run(stopped, tmp_path):
    mark_finished(stopped)
    folder = export(asked(stopped, tmp_path)).folder
    assert load(f"{stopped}@{folder / 'model.pth.tar'}").record == {}
