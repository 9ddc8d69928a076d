"""A disk without room is refused before long work, by the bytes that a run really writes."""

import shutil
from collections import namedtuple

import pytest

from zsrobust.cli.main import main
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.models.loading import load
from zsrobust.training.checkpoint import bytes_to_write
from zsrobust.training.finetune import finetune
from zsrobust.training.step import TrainingStep
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import require_room, size_of

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch):
    """Sets the bytes that are free on every disk; ``asked`` has the folders that were looked at."""
    asked = []

    def set_free(count):
        def usage(folder):
            asked.append(folder)
            return Usage(10**12, 0, count)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        return asked

    return set_free


@pytest.fixture
def config(small_clip, photos, tmp_path):
    data = f"imagefolder:{photos()}"

    def make(**changes):
        fields = {"model": small_clip, "data": data, "steps": 4}
        fields |= {"out": str(tmp_path / "run"), "batch_size": 4, "hold_out": 0.25, "device": "cpu"}
        fields |= {"checkpoint_every": 1, "attack": TrainingAttack(steps=1)}
        return FinetuneConfig(**{**fields, **changes})

    return make


def test_it_is_the_disk_of_the_nearest_folder_that_is_there(tmp_path, free):
    asked = free(2_000_000_000)
    require_room(tmp_path / "a" / "b", 2e9, "a run")
    assert asked == [tmp_path]
    with pytest.raises(RequestError, match=r"^a run needs about 2\.5 GB in .*b, where 2\.0 GB are"):
        require_room(tmp_path / "a" / "b", 2.5e9, "a run")


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_finetuning_writes_about_what_is_asked_for(config, small_clip, tmp_path, name):
    asked = config(optimizer=Optimizer(name=name, lr=1e-4), keep_checkpoints=2)
    encoder, folder = load(small_clip).encoder, tmp_path / "run"
    expected = bytes_to_write(asked, encoder, folder)
    finetune(asked)
    one = size_of(folder / "checkpoints") / 2
    # Two checkpoints are kept, and a third is there while it is written.
    assert expected == pytest.approx(3 * one + size_of(folder / "model"), rel=0.1)
    assert bytes_to_write(asked, encoder, folder) == 0


def test_a_finetuning_without_room_trains_nothing_and_leaves_no_folder(
    config, tmp_path, free, monkeypatch
):
    monkeypatch.setattr(TrainingStep, "__call__", None)
    free(11_000_000)
    with pytest.raises(RequestError, match=r"the fine-tuning needs about .* where 11\.0 MB are"):
        finetune(config(keep_checkpoints=1000, steps=1000))
    free(9_000_000)
    with pytest.raises(RequestError, match=r"a run needs about 10\.0 MB"):
        finetune(config())
    assert not (tmp_path / "run").exists()


def test_images_that_are_to_be_saved_count(small_clip, photos, tmp_path, free):
    free(15_000_000)
    asked = {"model": [small_clip], "data": [f"imagefolder:{photos(images=2)},resolution=1024"]}
    asked |= {"attack": ["pgd-1"], "out": str(tmp_path / "run"), "device": "cpu"}
    # Two images of 3 MB each, of 8 samples.
    with pytest.raises(RequestError, match=r"the evaluation needs about 50.3 MB"):
        evaluate(EvaluateConfig(**asked, save_adversarial=100))


@pytest.mark.parametrize(
    "argv",
    [
        ["finetune", "--model", "glyph-clip", "--data", "digits"],
        ["evaluate", "--model", "glyph-clip", "--data", "digits"],
        ["sweep", "tecoa", "--model", "glyph-clip", "--data", "digits", "--steps", "2"],
        ["demo"],
        ["data", "prepare", "eurosat"],
        ["data", "shard", "digits"],
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_every_command_says_so_at_once(argv, tmp_path, free, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    free(50_000)
    where = "--root" if "prepare" in argv else "--out"
    more = ["--evaluation.data", "digits"] if argv[0] == "sweep" else []
    assert main([*argv, *more, where, "out"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "needs about" in err
    assert "are free" in err
    assert not [*tmp_path.rglob("*.*")]
