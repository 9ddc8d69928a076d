"""Sweeps on a real Ray cluster of two nodes, which are processes of this machine."""

import signal
import threading
import time

import pytest

from zsrobust.cli.commands.sweep import parse_sweep
from zsrobust.cli.main import main
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.sweep import on_ray
from zsrobust.sweep.run import run_sweep
from zsrobust.sweep.run_study import run_study
from zsrobust.utils.errors import RequestError

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes():
    """A cluster whose head has no CPUs, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    # A node of Ray takes over SIGTERM for the rest of the process.
    sigterm = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A few MB instead of a third of the memory.
        small = {"object_store_memory": 80 * 1024 * 1024}
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, **small},
        )
        cluster.workers = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
        cluster.wait_for_nodes()
        yield cluster
        ray.shutdown()
        cluster.shutdown()
    signal.signal(signal.SIGTERM, sigterm)


def weights(out):
    return {
        path.parts[-3]: path.read_bytes()
        for path in sorted((out / "runs").glob("*/model/*.safetensors"))
    }


def test_every_run_ends_as_in_one_process_though_a_node_is_killed(argv, nodes, tmp_path, capsys):
    """A node is killed, with its processes, once a run on it has left a checkpoint."""
    recipes = ["tecoa", "ft_clean", "--seeds", "0", "1", *argv, "--steps", "30"]
    recipes += ["--checkpoint_every", "2"]
    alone = tmp_path / "alone"
    run_sweep(parse_sweep([*recipes, "--out", str(alone)]))

    together = tmp_path / "together"
    killed = threading.Event()

    def kill():
        while not list(together.glob("runs/*/checkpoints/step-*")):
            time.sleep(0.02)
        nodes.remove_node(nodes.workers[0], allow_graceful=False)
        killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    run_sweep(parse_sweep([*recipes, "--out", str(together), "--ray", nodes.address]))
    assert killed.is_set()
    assert "on a Ray cluster of 3 nodes with 2 CPUs" in capsys.readouterr().err
    # Four runs, one of them begun on the node that was killed.
    assert len(weights(alone)) == 4
    assert weights(together) == weights(alone)

    def figures(out):
        run = EvaluatedRun.read(out / "evaluations" / "tecoa-seed-1")
        return [(row.dataset, row.clean_acc, row.robust_acc) for row in run.results.rows]

    assert figures(together) == figures(alone)


def test_a_run_that_diverges_is_a_result_there_too(argv, nodes, capsys):
    argv = ["sweep", "ft_clean", *argv, "--optimizer.lr", "1e30", "--ray", nodes.address]
    before = signal.getsignal(signal.SIGTERM)
    assert main(argv) == 1
    assert signal.getsignal(signal.SIGTERM) == before
    assert "1 runs diverged: ft_clean-seed-0" in capsys.readouterr().err


def test_a_run_that_no_node_has_room_for_is_refused(argv, nodes, tmp_path):
    argv = ["ft_clean", *argv, "--ray", nodes.address]
    with pytest.raises(RequestError, match="no node of the Ray cluster has 7 CPUs"):
        run_sweep(parse_sweep([*argv, "--cpus_per_run", "7"]))
    with pytest.raises(RequestError, match="1 CPUs and 2 GPUs"):
        run_sweep(parse_sweep([*argv, "--gpus_per_run", "2"]))
    assert not (tmp_path / "out" / "runs").exists()


def test_a_cluster_that_does_not_answer_is_refused_at_once(argv):
    began = time.monotonic()
    for address in ("127.0.0.1:9", "nonsense"):
        with pytest.raises(RequestError, match=f"no Ray cluster answers at {address}"):
            run_sweep(parse_sweep(["ft_clean", *argv, "--ray", address]))
    assert time.monotonic() - began < 60


def test_a_study_runs_there_too(nodes, toy_study, tmp_path):
    cluster = on_ray.Cluster(nodes.address)
    shown = run_study(toy_study(), cluster)
    assert not any(shown.missing.values())
    alone = run_study(toy_study("alone"))
    assert shown.text == alone.text


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--cpus_per_run", "0"], "cpus_per_run"), (["--gpus_per_run", "-1"], "gpus_per_run")],
)
def test_sizes_of_a_run_are_checked(argv, options, named):
    with pytest.raises(RequestError, match=named):
        parse_sweep(["ft_clean", *argv, *options])
