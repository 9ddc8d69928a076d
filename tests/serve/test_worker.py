from threading import Event, Thread

import pytest

from zsrobust.serve.worker import Cancelled, Job, Waiting, Worker
from zsrobust.utils.errors import RequestError


@pytest.fixture
def worker():
    made = Worker(waiting=2)
    yield made
    made.close()


@pytest.fixture
def gate():
    """What the first job waits for; opened at the end in any case."""
    event = Event()
    yield event
    event.set()


def test_reports_come_in_order_and_then_the_result(worker):
    job = Job()

    def work():
        for number in range(5):
            job.report(number)
        return "done"

    worker.submit(job, work)
    assert list(job.follow()) == [0, 1, 2, 3, 4]
    assert job.result() == "done"


def test_jobs_run_one_at_a_time_in_their_order_and_know_their_place(worker, gate):
    order, jobs = [], [Job() for _ in range(3)]
    worker.submit(jobs[0], lambda: (gate.wait(60), order.append(0)))
    worker.submit(jobs[1], lambda: order.append(1))
    worker.submit(jobs[2], lambda: order.append(2))
    gate.set()
    assert list(jobs[2].follow()) == [Waiting(2), Waiting(1)]
    assert list(jobs[1].follow()) == [Waiting(1)]
    assert list(jobs[0].follow()) == []
    assert order == [0, 1, 2]


def test_too_many_are_refused_and_places_are_given_free(worker, gate):
    jobs = [Job() for _ in range(3)]
    for job in jobs:
        worker.submit(job, lambda: gate.wait(60))
    with pytest.raises(RequestError, match="2 attacks are waiting"):
        worker.submit(Job(), lambda: None)
    jobs[1].cancel()
    with pytest.raises(Cancelled):
        jobs[1].result()
    last = Job()
    worker.submit(last, lambda: "ran")
    gate.set()
    assert list(last.follow()) == [Waiting(2), Waiting(1)]
    assert last.result() == "ran"


def test_a_cancelled_job_ends_at_its_next_check_and_no_report_comes_after(worker):
    job, started, ended = Job(), Event(), Event()

    def work():
        try:
            while True:
                job.report("step")
                started.set()
                job.check()
        finally:
            ended.set()

    worker.submit(job, work)
    assert started.wait(60)
    job.cancel()
    assert list(job.follow()) == []
    with pytest.raises(Cancelled):
        job.result()
    assert ended.wait(60)
    after = Job()
    worker.submit(after, lambda: 1)
    assert after.result() == 1


def test_one_that_is_cancelled_before_it_starts_never_runs(worker):
    job, ran = Job(), []
    job.cancel()
    worker.submit(job, lambda: ran.append(1))
    with pytest.raises(Cancelled):
        job.result()
    after = Job()
    worker.submit(after, lambda: None)
    after.result()
    assert ran == []


def test_what_the_work_raises_is_raised_for_whom_it_worked(worker):
    job = Job()
    worker.submit(job, lambda: 1 / 0)
    assert list(job.follow()) == []
    with pytest.raises(ZeroDivisionError):
        job.result()


def test_closing_ends_the_running_and_the_waiting():
    worker, jobs, started = Worker(waiting=2), [Job(), Job()], Event()

    def endless():
        started.set()
        while True:
            jobs[0].check()

    worker.submit(jobs[0], endless)
    worker.submit(jobs[1], lambda: None)
    assert started.wait(60)
    closing = Thread(target=worker.close)
    closing.start()
    closing.join(60)
    assert not closing.is_alive()
    for job in jobs:
        with pytest.raises(Cancelled):
            job.result()
