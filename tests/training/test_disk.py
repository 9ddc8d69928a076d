"""A disk that is full, damaged or emptied in mid-run: told by name, and nothing done is lost."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.training import trainer
from zsrobust.training.finetune import finetune
from zsrobust.utils.errors import NotWritten, RequestError, RunError

pytestmark = pytest.mark.slow


@pytest.fixture
def whole(config, weights):
    """The weights of a run that nothing befell."""
    return weights(finetune(config("whole")).folder)


def assert_goes_on(settings, weights, whole):
    finetune(settings)
    found = weights(Path(settings.out))
    assert all(torch.equal(found[name], value) for name, value in whole.items())


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("what", ["checkpoint", "model", "metrics"])
def test_a_full_disk_names_the_file_and_the_run_resumes(config, weights, whole, monkeypatch, what):
    settings = config("full")
    seams = {
        "checkpoint": ("zsrobust.training.checkpoint.save_file", r"checkpoints/step-\d+"),
        "model": ("zsrobust.models.weights.save_file", "model"),
        "metrics": ("pathlib.Path.open", r"metrics\.jsonl"),
    }
    seam, name = seams[what]
    calls, opened = [], Path.open

    def appending_fails(self, mode="r", **options):
        return full() if mode == "a" else opened(self, mode, **options)

    with monkeypatch.context() as patch:
        # It fills in step 4, when something of each kind has been written or is about to be.
        step = trainer.TrainingStep.__call__

        def filling(self, *parts, **options):
            calls.append(1)
            if len(calls) == 4:
                patch.setattr(seam, appending_fails if what == "metrics" else full)
            return step(self, *parts, **options)

        patch.setattr(trainer.TrainingStep, "__call__", filling)
        with pytest.raises(NotWritten, match=f"{name} could not be written: No space left on dev"):
            finetune(settings)
    assert not list(Path(settings.out).rglob("*.tmp"))
    assert_goes_on(settings, weights, whole)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_from_a_damaged_checkpoint_the_one_before_leads_to_the_same_weights(
    config, weights, whole, capsys, name
):
    settings = config("damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "save_model", full)
        with pytest.raises(OSError, match="No space"):
            finetune(settings)
    newest = sorted((Path(settings.out) / "checkpoints").glob("step-*"))[-1]
    content = bytearray((newest / name).read_bytes())
    content[len(content) // 2] ^= 1
    (newest / name).write_bytes(content)
    capsys.readouterr()
    assert_goes_on(settings, weights, whole)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{newest}" in said
    assert "is damaged" in said
    assert "going on from an earlier one" in said


def test_an_image_deleted_in_mid_run_is_named_and_the_run_resumes(
    config, weights, whole, monkeypatch, tmp_path
):
    # Else the pixels that the first run kept would do.
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "0")
    settings = config("gone")
    folder, aside = tmp_path / "photos", tmp_path / "aside"
    step, calls = trainer.TrainingStep.__call__, []

    def losing(self, *parts, **options):
        calls.append(1)
        if len(calls) == 3:
            folder.rename(aside)
        return step(self, *parts, **options)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.TrainingStep, "__call__", losing)
        with pytest.raises(RunError, match=r"cannot read image .*\.png: No such file"):
            finetune(settings)
    aside.rename(folder)
    assert_goes_on(settings, weights, whole)


def test_a_full_disk_in_an_evaluation_costs_no_finished_chunk(
    small_clip, photos, tmp_path, monkeypatch
):
    out = str(tmp_path / "eval")
    settings = EvaluateConfig([small_clip], [photos], out, attack=["pgd-2"], device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr("zsrobust.evaluation.evaluator.pq.write_table", full)
        with pytest.raises(NotWritten, match=r"could not be written: No space left"):
            evaluate(settings)
    assert len(evaluate(settings).rows) == 1
    assert not (tmp_path / "eval" / "parts").exists()


def test_a_model_folder_with_a_flipped_bit_is_refused(config):
    run = finetune(config(steps=1))
    path = run.folder / "model" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"model\.safetensors is damaged: its sha256 differs"):
        finetune(config("second", model=str(run.folder)))


@pytest.mark.parametrize("as_root", [False, True])
def test_an_unwritable_output_is_refused_before_any_work(config, tmp_path, as_root):
    if as_root:
        # Whom no permission stops: a file where the parent folder should be.
        (tmp_path / "parent").write_text("")
    else:
        if os.name != "posix" or os.geteuid() == 0:
            pytest.skip("permissions do not bind this user; the other case stands for it")
        (tmp_path / "parent").mkdir(mode=0o500)
    with pytest.raises(RequestError, match=r"out .*run cannot be written"):
        finetune(config("parent/run"))
    if not as_root:
        shutil.rmtree(tmp_path / "parent")
