"""What a process hears of another that works, ends, fails or falls silent."""

import os
import threading
import time

import pytest
from torch.distributed import TCPStore

from zsrobust.utils import watchdog as watch
from zsrobust.utils.errors import ProcessLost, RunError
from zsrobust.utils.watchdog import Watch, watched


@pytest.fixture
def pair(monkeypatch):
    """The watches of two processes, here in one, and the codes that they would have ended with."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(server.port))
    for name, seconds in {"BEAT": 0.05, "SILENCE": 1.0, "GRACE": 0.3}.items():
        monkeypatch.setattr(watch, name, seconds)
    codes = []
    monkeypatch.setattr(watch.os, "_exit", codes.append)
    both = [Watch(rank, 2, run=0) for rank in range(2)]
    for one in both:
        one.start()
    yield [*both, codes]
    for one in both:
        one._end.set()
        one._thread.join()


def wait(condition):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def fall_silent(one):
    one._end.set()
    one._thread.join()


@pytest.mark.slow
def test_two_that_work_and_end_are_left_alone(pair):
    first, second, codes = pair
    time.sleep(1.5)
    leaving = threading.Thread(target=first.leave, args=("done",))
    leaving.start()
    time.sleep(1.5)
    assert leaving.is_alive(), "the first one stays for as long as another works"
    second.leave("done")
    leaving.join(timeout=20)
    assert not leaving.is_alive()
    assert codes == []


@pytest.mark.parametrize("silent", [0, 1])
def test_one_that_falls_silent_is_named(silent, pair, capfd):
    *both, codes = pair
    fall_silent(both[silent])
    wait(lambda: codes)
    assert codes == [75]
    said = capfd.readouterr().err
    assert f"process {silent} of 2 (host " in said
    assert f"pid {os.getpid()}) has not been heard of for 1 seconds" in said


def test_one_that_failed_is_given_time_and_then_named(pair, capfd):
    _, second, codes = pair
    begun = time.monotonic()
    second.leave("failed with RuntimeError: out of | memory")
    wait(lambda: codes)
    assert time.monotonic() - begun > 0.3
    assert codes == [1]
    assert "failed with RuntimeError: out of | memory; this run ends here" in capfd.readouterr().err


def test_a_broken_connection_is_explained(pair):
    first, second, codes = pair
    fall_silent(second)
    with pytest.raises(ProcessLost, match=r"process 1 of 2 \(host .* has not been heard of"):
        first.explain(RuntimeError("Gloo: connection closed by peer"))
    assert codes == []


def test_others_hear_why_a_process_left(pair, monkeypatch, capfd):
    first, _, codes = pair
    monkeypatch.setattr(watch, "Watch", lambda *_: first)
    monkeypatch.setattr(first, "start", lambda: None)
    with pytest.raises(RunError, match="the disk is full"), watched(0, 2):
        raise RunError("the disk is full")
    wait(lambda: codes)
    assert "process 0 of 2 " in (said := capfd.readouterr().err)
    assert "failed with RunError: the disk is full" in said


def test_one_process_watches_nobody(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    before = threading.active_count()
    with watched(0, 1):
        assert threading.active_count() == before
