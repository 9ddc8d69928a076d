import multiprocessing

import pytest
import yaml

from zsrobust.config.parsing import parse_finetune, recipe
from zsrobust.config.run_folder import claimed, find_run
from zsrobust.config.schema import EvaluateConfig, to_plain
from zsrobust.utils.errors import RequestError


@pytest.fixture
def config(tmp_path):
    def make(**changes):
        return recipe("tecoa", model="m", data="d", out=str(tmp_path / "run"), **changes)

    return make


def begin(config, *work):
    out = find_run(config)
    with claimed(out, config):
        for name in work:
            (out / name).touch()
    return out


def test_the_recorded_request_is_a_configuration(config):
    out = begin(config(steps=7))
    again = parse_finetune(["--config", str(out / "config.yaml")])
    assert again == config(steps=7)


def test_looking_for_a_run_changes_nothing(config, tmp_path):
    out = begin(config(), "metrics.jsonl")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    find_run(config())
    find_run(config(steps=3, overwrite=True))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_is_made_when_it_is_claimed(tmp_path):
    config = recipe("tecoa", model="m", data="d", out=str(tmp_path / "new" / "run"))
    out = find_run(config)
    assert list(tmp_path.iterdir()) == []
    with claimed(out, config):
        assert out.is_dir()


def test_where_nothing_can_be_written_is_told_before(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(RequestError, match="cannot be written"):
            find_run(recipe("tecoa", model="m", data="d", out=str(out)))


def test_the_same_request_goes_on_and_another_is_refused(config):
    begin(config(), "metrics.jsonl")
    assert begin(config(device="cpu", workers=2))
    with pytest.raises(RequestError, match=r"optimizer\.lr: 1e-05 there, 0\.5 asked"):
        find_run(config(optimizer={"lr": 0.5}))


def test_before_any_work_a_corrected_request_replaces_the_first(config):
    begin(config(steps=3))
    out = begin(config(steps=4))
    assert yaml.safe_load((out / "config.yaml").read_text())["steps"] == 4


def test_overwrite_deletes_what_a_run_writes_and_nothing_else(config):
    out = begin(config(), "metrics.jsonl", "outcomes.parquet")
    (out / "checkpoints" / "step-00000001").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    begin(config(steps=3, overwrite=True))
    assert {path.name for path in out.iterdir()} == {".lock", "config.yaml", "notes.txt"}


def test_folders_that_are_no_run_of_this_command_are_left_alone(config, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.yaml").write_text("my: settings\n")
    for overwrite in (False, True):
        with pytest.raises(RequestError, match="holds files and is no run folder"):
            find_run(config(overwrite=overwrite))
    (out / "config.yaml").unlink()
    begin(config(), "model")
    with pytest.raises(RequestError, match="no run folder of zsrobust evaluate"):
        find_run(EvaluateConfig(model=["m"], data=["d"], out=str(out), overwrite=True))


def test_a_damaged_record_is_named(config):
    out = begin(config(), "metrics.jsonl")
    first = (out / "config.yaml").read_text().splitlines()[0]
    (out / "config.yaml").write_text(f"{first}\nsteps: [\n")
    with pytest.raises(RequestError, match=r"config\.yaml is damaged: use overwrite"):
        find_run(config())


def hold(out, plain, entered, leave):
    with claimed(out, EvaluateConfig(**plain)):
        entered.set()
        leave.wait(60)


def test_one_process_at_a_time(tmp_path):
    plain = {"model": ["m"], "data": ["d"], "out": str(tmp_path / "run")}
    config = EvaluateConfig(**plain)
    out = find_run(config)
    assert "overwrite" in to_plain(config)
    context = multiprocessing.get_context("spawn")
    entered, leave = context.Event(), context.Event()
    other = context.Process(target=hold, args=(out, plain, entered, leave))
    other.start()
    try:
        assert entered.wait(60)
        with pytest.raises(RequestError, match="in use by another process"), claimed(out, config):
            pass
    finally:
        leave.set()
        other.join(60)
    with claimed(out, config):
        pass
