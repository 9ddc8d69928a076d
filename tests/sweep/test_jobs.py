import subprocess
import sys
from pathlib import Path

import pytest

from zsrobust.sweep import jobs as module
from zsrobust.sweep.jobs import work
from zsrobust.utils.errors import InUse, RunError
from zsrobust.utils.stages import Stage

pytestmark = pytest.mark.slow


class Fake:
    """A job that is at first held by another process, ``held`` times."""

    def __init__(self, name, done, held=0, needs=None):
        self.folder, self.done, self.held, self.needs = Path(name), done, held, needs
        self.stage = Stage(name, "fake", 1.0)

    def is_ready(self):
        return self.needs is None or self.needs.is_done()

    def is_done(self):
        return self.folder.name in self.done

    def run(self):
        if self.held > 0:
            self.held -= 1
            raise InUse("another process is there")
        self.done.append(self.folder.name)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    return waits


def test_jobs_are_done_in_order_and_those_of_others_later(no_waiting):
    done = ["b"]
    jobs = [Fake("a", done, held=1), Fake("b", done), Fake("c", done)]
    work(lambda: jobs, lambda line: None)
    assert done == ["b", "c", "a"]
    assert no_waiting == []


def test_at_the_end_it_waits_for_the_others(no_waiting):
    done, said = [], []
    work(lambda: [Fake("a", done, held=0 if len(no_waiting) == 3 else 1)], said.append)
    assert done == ["a"]
    assert len(no_waiting) == 3
    assert sum("waiting for other processes" in line for line in said) == 1


def test_a_job_that_another_holds_is_not_begun(no_waiting, tmp_path):
    """Another process has the lock of the first folder until this one has waited twice."""
    held = tmp_path / "held"
    held.mkdir()
    script = f"""if True:
        import pathlib, time
        from filelock import FileLock
        with FileLock({str(held / ".lock")!r}):
            print("held", flush=True)
            while not pathlib.Path({str(tmp_path / "go")!r}).exists():
                time.sleep(0.01)
    """
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        done, said = [], []
        jobs = [Fake(tmp_path / "held", done), Fake(tmp_path / "free", done)]

        def known():
            if len(no_waiting) == 2:
                (tmp_path / "go").touch()
                other.wait()
            return jobs

        work(known, said.append)
    finally:
        other.kill()
        other.wait()
    assert done == ["free", "held"]
    assert said[0] == f"1 of 2: {tmp_path / 'free'}"
    assert said[1] == "waiting for other processes, which work on the last 1 runs"
    assert said[2].startswith(f"2 of 2: {held} (")


def test_results_may_ask_for_more():
    done = []

    def known():
        return [Fake("a", done), *([Fake("b", done)] if "a" in done else [])]

    work(known, lambda line: None)
    assert done == ["a", "b"]


def test_what_is_not_ready_is_counted_and_done_in_its_turn():
    done, said = ["z"], []
    training, other = Fake("a", done), Fake("b", done)
    evaluations = [Fake("ea", done, needs=training), Fake("eb", done, needs=other)]
    jobs = [Fake("z", done), *evaluations, training, other]
    work(lambda: jobs, said.append, lambda: [Fake("c", done)])
    assert done == ["z", "a", "ea", "b", "eb"]
    # One of the six is expected, and was never asked for.
    assert [line.split(":")[0] for line in said] == [f"{place} of 6" for place in (2, 3, 4, 5)]


def test_a_failure_ends_it_and_what_was_done_stays():
    done = []

    class Failing(Fake):
        def run(self):
            raise RunError("full disk")

    with pytest.raises(RunError, match="full disk"):
        work(lambda: [Fake("a", done), Failing("b", done)], lambda line: None)
    assert done == ["a"]
