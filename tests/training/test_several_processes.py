"""One run over 1, 2 and 4 processes, on the CPU with gloo; one of them told to stop, or killed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from zsrobust.config.schema import to_plain
from zsrobust.models.loading import load
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics

pytestmark = pytest.mark.slow

OBSERVED = str(Path(__file__).with_name("observed_run.py"))


@pytest.fixture
def recipe(tmp_path):
    def write(settings):
        path = tmp_path / f"{Path(settings.out).name}.yaml"
        path.write_text(yaml.safe_dump(to_plain(settings)))
        return str(path)

    return write


def curve(folder, key):
    rows = read_metrics(Path(folder) / "metrics.jsonl")
    return [row[key] for row in rows if row["kind"] == "train"]


def assert_same_run(folder, alone, weights):
    for name, value in weights(Path(alone)).items():
        found = weights(Path(folder))[name]
        torch.testing.assert_close(found, value, atol=2e-6, rtol=1e-4)


def test_any_number_of_processes_gives_the_curve_of_one(
    config, recipe, processes, weights, tmp_path
):
    alone = config("of-1")
    for n in (1, 2, 4):
        (tmp_path / str(n)).mkdir()
        settings = config(f"of-{n}", accumulate=2)
        run = processes(n, OBSERVED, recipe(settings), str(tmp_path / str(n)))
        assert run.returncode == 0, run.stderr
        for rank in range(n if n > 1 else 0):
            steps = json.loads((tmp_path / str(n) / f"events-{rank}.json").read_text())
            part = ["attack", "attacked", "forward"]
            # The small tower is one bucket: it is sent once, after the last part's forward.
            assert steps == 6 * [[*part, *part, "reduce"]]
        for key in ("total", "grad_norm", "relative_l2_distance"):
            one, several = curve(alone.out, key), curve(settings.out, key)
            assert len(several) == 6
            assert several == pytest.approx(one, rel=1e-4), key
        assert_same_run(settings.out, alone.out, weights)


@pytest.mark.parametrize("ema", [None, 0.5])
def test_weights_shared_out_are_the_same_weights(ema, config, recipe, processes, weights, tmp_path):
    alone = finetune(config("alone", ema=ema))
    settings = config("shared", ema=ema, shard=True)
    if ema:
        # What one process has begun, several with a part of each weight end.
        shutil.copytree(alone.folder, settings.out)
        for name in ("checkpoints/step-00000006", "model"):
            shutil.rmtree(Path(settings.out) / name)
    run = processes(2, OBSERVED, recipe(settings), str(tmp_path))
    assert run.returncode == 0, run.stderr
    steps = json.loads((tmp_path / "events-0.json").read_text())
    assert steps == (2 if ema else 6) * [["attack", "attacked", "forward"]]
    assert_same_run(settings.out, alone.folder, weights)
    kept = load(settings.out).encoder.state_dict()
    for name, value in load(str(alone.folder)).encoder.state_dict().items():
        torch.testing.assert_close(kept[name], value, atol=2e-6, rtol=1e-4)
    moments = (
        load_file(sorted(folder.glob("checkpoints/step-*"))[-1] / "optimizer.safetensors")
        for folder in (Path(settings.out), alone.folder)
    )
    torch.testing.assert_close(*moments, atol=1e-5, rtol=1e-3)


class Group:
    """Two processes as a scheduler starts them, with no launcher above that would end them."""

    def __init__(self, recipe, folder, **variables):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.logs = [folder / f"log-{rank}" for rank in range(2)]
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.processes = []
        for rank, log in enumerate(self.logs):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, OBSERVED, recipe, str(folder)],
                    env={**os.environ, **common, **own, **variables},
                    stdout=subprocess.DEVNULL,
                    stderr=log.open("w"),
                )
            )

    def wait_for(self, checkpoints, step):
        until = time.monotonic() + 240
        while not any(path.name >= f"step-{step:08d}" for path in checkpoints.glob("step-*")):
            assert time.monotonic() < until, [log.read_text() for log in self.logs]
            assert all(process.poll() is None for process in self.processes), self.logs
            time.sleep(0.01)

    def end(self):
        return [process.wait(timeout=120) for process in self.processes]


@pytest.fixture
def long_run(config):
    def make(out):
        return config(out, steps=60, evaluate_every=60, checkpoint_every=2)

    return make


def test_a_signal_to_one_process_saves_and_ends_all(config, recipe, weights, tmp_path, long_run):
    settings = long_run("stopped")
    group = Group(recipe(settings), tmp_path)
    group.wait_for(Path(settings.out) / "checkpoints", step=4)
    group.processes[1].send_signal(signal.SIGTERM)
    assert group.end() == [143, 143]
    for log in group.logs:
        assert "of 60; run the same command to resume" in log.read_text()
    # On another number of processes it goes on all the same.
    alone, again = finetune(long_run("alone")), finetune(settings)
    assert_same_run(again.folder, alone.folder, weights)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other_which_names_it(killed, recipe, tmp_path, long_run):
    settings = long_run("lost")
    group = Group(recipe(settings), tmp_path, SILENCE="3")
    group.wait_for(Path(settings.out) / "checkpoints", step=4)
    group.processes[killed].kill()
    begun = time.monotonic()
    codes = group.end()
    assert time.monotonic() - begun < 30
    assert codes[killed] == -signal.SIGKILL
    assert codes[1 - killed] in (1, 75)
    told = group.logs[1 - killed].read_text()
    assert f"process {killed} of 2 " in told
    assert "run the same command to resume from what is saved" in told


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_torchrun_starts_a_training_again_whose_process_was_killed(
    config, recipe, weights, tmp_path, long_run
):
    settings = long_run("restarted")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    launch += ["--max-restarts=1", "--monitor-interval=0.1", "--local-addr=127.0.0.1"]
    launch += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
    agent = subprocess.Popen(
        [*launch, "-m", "zsrobust", "finetune", "--config", recipe(settings)],
        stdout=(tmp_path / "log").open("w"),
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
    try:
        checkpoints = Path(settings.out) / "checkpoints"
        while not [one for one in checkpoints.glob("step-*") if one.name >= "step-00000004"]:
            assert agent.poll() is None
            time.sleep(0.01)
        # Ranks take their places in the order of the agent's children.
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
        os.kill(int(children.read_text().split()[1]), signal.SIGKILL)
        assert agent.wait(timeout=120) == 0
    finally:
        agent.kill()
        agent.wait()
    assert "going on from step" in (tmp_path / "log").read_text()
    assert_same_run(settings.out, finetune(long_run("alone")).folder, weights)
