"""Training from shards behind a URL: as from files, and the same after a kill as without one."""

import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml

from zsrobust.config.schema import to_plain
from zsrobust.data.registry import open_set
from zsrobust.data.shards.write import write_shards
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics

pytestmark = pytest.mark.slow


@pytest.fixture
def shards(photos, tmp_path):
    """The URL of the 56 photos in 8 shards, on a server of this machine."""
    write_shards(open_set(photos, "train"), tmp_path / "served", 7, lambda done: None)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"webdataset:http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def assert_same_run(one, other, weights):
    for name, value in weights(one).items():
        assert torch.equal(weights(other)[name], value), name
    rows = [
        [
            {key: value for key, value in row.items() if key != "images_per_second"}
            for row in read_metrics(folder / "metrics.jsonl")
        ]
        for folder in (one, other)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_stopped_in_mid_epoch_it_resumes_bit_for_bit(
    config, shards, weights, monkeypatch, signalled, workers, cache
):
    """Two epochs of 6 steps, interrupted after step 3 and again after step 8."""
    asked = {"data": shards, "steps": 12, "evaluate_every": 6, "checkpoint_every": 100}
    whole = finetune(config("whole", **asked))
    stopped = config("stopped", workers=workers, **asked)
    monkeypatch.setenv("ZSROBUST_CACHE", str(cache / "another"))
    with signalled(signal.SIGINT, 3, 8):
        for reached in (3, 8):
            with pytest.raises(KeyboardInterrupt, match=f"stopped at step {reached} of 12"):
                finetune(stopped)
    again = finetune(stopped)
    assert_same_run(whole.folder, again.folder, weights)


def test_killed_it_resumes_bit_for_bit(config, shards, weights, tmp_path):
    asked = {"data": shards, "steps": 12, "evaluate_every": 6, "checkpoint_every": 1}
    whole = finetune(config("whole", **asked))
    killed = config("killed", **asked)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(killed)))
    command = [sys.executable, "-m", "zsrobust", "finetune", "--config", str(recipe)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = Path(killed.out) / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("step-00000004")):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert_same_run(whole.folder, Path(killed.out), weights)


def test_shards_on_this_disk_train_as_the_files_do(config, photos, weights, tmp_path):
    write_shards(open_set(photos, "train"), tmp_path / "shards", 9, lambda done: None)
    files = finetune(config("files"))
    local = finetune(config("local", data=f"webdataset:{tmp_path / 'shards'}"))
    assert_same_run(files.folder, local.folder, weights)
