"""The jobs of a sweep as tasks of a Ray cluster: queued, placed, and retried where a node is lost.

Ray places each job on a node with the CPUs and GPUs that it asks for, and starts it again on
another one if its process or its node is lost; there it resumes from its checkpoint. The nodes
share the folders of runs and data, at the same paths.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsrobust.config.run_folder import in_use
from zsrobust.sweep.jobs import POLL_SECONDS, Count, Job
from zsrobust.utils.errors import InUse, RequestError, RunError, ZSRobustError
from zsrobust.utils.extras import require_installed
from zsrobust.utils.progress import format_seconds
from zsrobust.utils.validation import check_types, require

LOCAL = "local"
RETRIES = 3
"""How often a job is started again whose process or node was lost."""
CONNECT_S = 5.0
GRACE_S = 60.0
"""After Ctrl-C, how long jobs may take to save a checkpoint."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what a job takes of it.

    Attributes:
        address: ``auto``, the cluster that this machine is a node of; ``HOST:PORT``; or ``local``,
            one of this machine alone, which ends with the command.
        cpus: CPU cores of a job, and its threads.
        gpus: GPUs of a job; None for one where the cluster has any, else none.
    """

    address: str
    cpus: int = 1
    gpus: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where the runs of a command are done.

    Attributes:
        ray: address of a Ray cluster; null for one run after the other in this process.
        cpus_per_run: CPU cores of a run on the cluster, and its threads.
        gpus_per_run: GPUs of a run on the cluster; null for one where it has any.
    """

    ray: str | None = None
    cpus_per_run: int = 1
    gpus_per_run: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        require(self.cpus_per_run >= 1, "cpus_per_run", self.cpus_per_run, "1 or more")
        gpus = self.gpus_per_run
        require(gpus is None or gpus >= 0, "gpus_per_run", gpus, "0 or more")

    @property
    def cluster(self) -> Cluster | None:
        """The cluster; None where none is asked for."""
        return None if self.ray is None else Cluster(self.ray, self.cpus_per_run, self.gpus_per_run)


def work_on_ray(
    jobs: Callable[[], Sequence[Job]],
    say: Callable[[str], None],
    cluster: Cluster,
    later: Callable[[], Sequence[Job]] = lambda: [],
) -> None:
    """``jobs.work``, with as many jobs at a time as the cluster has room for.

    Raises:
        RequestError: if Ray is not installed, the cluster cannot be reached or has no node that is
            large enough, a job's folder holds another run, or its request cannot be met.
        RunError: if a job fails, or its process was lost more than ``RETRIES`` times.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    count = Count(jobs, later)
    if not count.left():
        return
    require_installed("ray", "ray")
    # Ray sets a handler of its own, which ends the process.
    sigterm = signal.getsignal(signal.SIGTERM)
    _connect(cluster.address)
    import ray

    running: dict[Any, Job] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm)
        gpus = _gpus(cluster)
        task = ray.remote(run_job).options(
            num_cpus=cluster.cpus, num_gpus=gpus, max_retries=RETRIES
        )
        at_once = _room(cluster.cpus, gpus)
        say(f"{at_once} at a time on a Ray cluster of {_nodes()}")
        while (left := count.left()) or running:
            queued = {job.folder for job in running.values()}
            for job in left:
                if job.folder not in queued and job.is_ready() and not in_use(job.folder):
                    running[task.remote(job, str(Path.cwd()), cluster.cpus)] = job
            if not running:
                # Processes outside the cluster work on what is left.
                time.sleep(POLL_SECONDS)
                continue
            ended, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for reference in ended:
                job = running.pop(reference)
                seconds = _result(reference, job)
                if seconds is None:
                    continue
                count.note(job, seconds)
                count.left()
                took = format_seconds(seconds)
                time_left = count.time_left(at_once)
                say(f"{count.done} of {count.total}: {job.folder} in {took}{time_left}")
    except KeyboardInterrupt:
        for reference in running:
            ray.cancel(reference, force=False)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=GRACE_S)
        raise
    finally:
        ray.shutdown()


def run_job(job: Job, folder: str, threads: int) -> float | ZSRobustError:
    """Seconds that the job took, on a node of the cluster; or why it failed.

    Args:
        job: what to do.
        folder: the working directory, to which the job's paths are relative.
        threads: of the job.
    """
    import torch

    began = time.monotonic()
    try:
        os.chdir(folder)
    except OSError as error:
        return RunError(f"node {socket.gethostname()}: {folder}: {error.strerror}")
    torch.set_num_threads(threads)
    try:
        job.run()
    except ZSRobustError as error:
        return error
    return time.monotonic() - began


def _result(reference: Any, job: Job) -> float | None:
    """Seconds that a job took; None where another process works on it.

    Raises:
        ZSRobustError: if it failed.
    """
    import ray

    try:
        found: float | ZSRobustError = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise RunError(f"{job.folder} failed: {error.cause!r}") from error
    except ray.exceptions.RayError as error:
        raise RunError(
            f"{job.folder} was lost {RETRIES + 1} times with its process or node; the same command "
            "resumes it"
        ) from error
    if isinstance(found, InUse):
        return None
    if isinstance(found, ZSRobustError):
        raise found
    return found


def _connect(address: str) -> None:
    """Join the cluster at ``address``.

    Raises:
        RequestError: if it does not answer.
    """
    # Ray would report the use of the cluster to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    host, _, port = address.rpartition(":")
    if address not in (LOCAL, "auto"):
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
        except (OSError, ValueError):
            raise RequestError(
                f"no Ray cluster answers at {address}: give HOST:PORT as printed by `ray start "
                "--head`, auto on a node of the cluster, or local for this machine alone"
            ) from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"no Ray cluster at {address}: start one with `ray start --head`, or give --ray local"
        ) from error


def _gpus(cluster: Cluster) -> float:
    import ray

    if cluster.gpus is not None:
        return cluster.gpus
    return 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0


def _room(cpus: int, gpus: float) -> int:
    """How many jobs fit into the cluster at a time.

    Raises:
        RequestError: if no node is large enough for one.
    """
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = [
        min(
            int(node.get("CPU", 0) // cpus),
            int(node.get("GPU", 0) // gpus) if gpus else int(node.get("CPU", 0) // cpus),
        )
        for node in alive
    ]
    if not any(fits):
        most_cpus = max((int(node.get("CPU", 0)) for node in alive), default=0)
        most_gpus = max((int(node.get("GPU", 0)) for node in alive), default=0)
        raise RequestError(
            f"no node of the Ray cluster has {cpus} CPUs and {gpus:g} GPUs, as a run is to have: "
            f"the largest have {most_cpus} and {most_gpus}"
        )
    return sum(fits)


def _nodes() -> str:
    import ray

    alive = sum(node["Alive"] for node in ray.nodes())
    resources = ray.cluster_resources()
    gpus = resources.get("GPU", 0)
    also = f" and {gpus:g} GPUs" if gpus else ""
    return f"{alive} node{'s' * (alive != 1)} with {resources.get('CPU', 0):g} CPUs{also}"
