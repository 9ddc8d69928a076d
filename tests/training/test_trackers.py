"""Trackers show what metrics.jsonl holds; a resumed run goes on in the same one."""

import json
from pathlib import Path

import pytest
from accelerate import tracking
from accelerate.tracking import GeneralTracker

from zsrobust.cli.main import main
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError, Stopped


class Recorder(GeneralTracker):
    """In the place of a tracker's class; every instance is kept."""

    requires_logging_directory = False
    made: list = []  # noqa: RUF012
    fails_at: set = set()  # noqa: RUF012

    def __init__(self, project, **options):
        super().__init__()
        self.project, self.options = project, options
        self.settings, self.logged, self.finished = None, [], False

    def start(self):
        if 0 in self.fails_at:
            raise OSError("no\nserver")
        self.made.append(self)

    @property
    def tracker(self):
        class Run:
            id = "a run"

            class info:
                run_id = "its id"

        return Run

    def store_init_configuration(self, values):
        self.settings = values

    def log(self, values, step, **_):
        if step in self.fails_at:
            raise OSError("gone")
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture(params=["wandb", "mlflow"])
def recorder(request, monkeypatch):
    kind = type("Kind", (Recorder,), {"name": request.param, "made": [], "fails_at": set()})
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, request.param, kind)
    monkeypatch.setattr(tracking, "_available_trackers", list(tracking.LoggerType))
    monkeypatch.setattr("zsrobust.training.trackers.require_installed", lambda *_: None)
    return kind


def numbers(folder):
    """What metrics.jsonl holds, as trackers are told it."""
    return [
        (
            row["step"],
            {
                f"{row['kind']}/{key}": value
                for key, value in row.items()
                if key not in ("kind", "step")
                and isinstance(value, int | float)
                and not isinstance(value, bool)
            },
        )
        for row in read_metrics(Path(folder) / "metrics.jsonl")
    ]


def test_a_tracker_is_told_every_number_of_the_metrics(config, recorder):
    run = finetune(config(trackers=[recorder.name]))
    (tracker,) = recorder.made
    assert tracker.logged == numbers(run.folder)
    assert any("train/total" in values for _, values in tracker.logged)
    assert any("held_out/clean_acc" in values for _, values in tracker.logged)
    assert tracker.project == "zsrobust"
    assert tracker.settings["optimizer.lr"] == 0.02
    assert tracker.finished


def test_a_resumed_run_goes_on_in_the_same_one(config, recorder, signalled):
    settings = config(trackers=[recorder.name])
    with signalled(2, 3), pytest.raises(Stopped):
        finetune(settings)
    finetune(settings)
    first, second = recorder.made
    assert first.finished
    assert second.settings is None
    if recorder.name == "mlflow":
        assert (first.options["run_id"], second.options["run_id"]) == (None, "its id")
    else:
        assert second.options["id"] == "a run"
        assert second.options["resume"] == "allow"
    assert [*first.logged, *second.logged] == numbers(settings.out)
    # Once it is finished, nothing is tracked.
    finetune(settings)
    assert len(recorder.made) == 2


def test_a_tracker_that_fails_does_not_end_the_run(config, recorder, capsys):
    recorder.fails_at.add(4)
    run = finetune(config(trackers=[recorder.name]))
    assert run.steps == 6
    assert f"warning: {recorder.name} is left out from here on: gone" in capsys.readouterr().err
    assert [step for step, _ in recorder.made[0].logged] == [0]
    assert [step for step, _ in numbers(run.folder)][-1] == 6


def test_a_tracker_that_does_not_start_is_refused(config, recorder):
    recorder.fails_at.add(0)
    with pytest.raises(RequestError, match=rf"trackers: {recorder.name} did not start: no server"):
        finetune(config(trackers=[recorder.name]))
    # Nothing was computed, so that another request may take the folder.
    assert finetune(config(steps=2)).steps == 2


def scalars(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


@pytest.mark.slow
def test_tensorboard_reads_each_step_once_after_a_resume(config, signalled):
    pytest.importorskip("tensorboard")
    settings = config(trackers=["tensorboard"])
    with signalled(2, 3), pytest.raises(Stopped):
        finetune(settings)
    finetune(settings)
    read = scalars(Path(settings.out) / "tensorboard" / "zsrobust")
    for tag in ("held_out/clean_acc", "held_out/robust_acc", "train/total"):
        wanted = [(step, values[tag]) for step, values in numbers(settings.out) if tag in values]
        assert [step for step, _ in read[tag]] == [step for step, _ in wanted]
        assert [value for _, value in read[tag]] == pytest.approx([value for _, value in wanted])


@pytest.mark.slow
def test_wandb_writes_its_files_offline(config, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = finetune(config(trackers=["wandb"]))
    ids = json.loads((run.folder / "trackers.json").read_text())
    assert [*(run.folder / "wandb").glob(f"offline-run-*-{ids['wandb']}/*.wandb")]


def test_an_absent_library_is_refused_before_anything(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("zsrobust.utils.extras.find_spec", lambda name: None)
    argv = ["finetune", "--model", config().model, "--data", config().data]
    argv += ["--out", str(tmp_path / "new"), "--method", "tecoa"]
    assert main([*argv, "--trackers", "tensorboard", "mlflow"]) == 2
    assert 'tensorboard is not installed: pip install "zsrobust[tensorboard]"' in (
        capsys.readouterr().err
    )
    assert main([*argv, "--trackers", "tensorbord"]) == 2
    assert "trackers" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
