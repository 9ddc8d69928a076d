"""The line in front of the one worker, and what becomes of work that is no longer wanted."""

import threading
from types import SimpleNamespace

import pytest

from zsrobust.serve.comparison import Comparison
from zsrobust.serve.job import Cancelled, Step, Waiting, run
from zsrobust.serve.turns import Turns
from zsrobust.utils.errors import RequestError

DONE = Comparison(SimpleNamespace(), (), SimpleNamespace(), {}, [], [])


def endless(on_step):
    taken = 0
    while True:
        on_step("model", taken, 0.0)
        taken += 1
        threading.Event().wait(0.001)


def test_progress_comes_before_the_result():
    def work(on_step):
        on_step("model", 0, 1.5)
        threading.Event().wait(0.3)
        return DONE

    assert list(run(work, Turns(0), threading.Event())) == [Step("model", 0, 1.5), DONE]


def test_a_failure_reaches_whoever_asked_and_frees_the_turn():
    def work(on_step):
        raise RequestError("no")

    turns = Turns(0)
    for _ in range(2):
        with pytest.raises(RequestError, match="no"):
            list(run(work, turns, threading.Event()))


def test_cancelling_ends_the_work_within_a_step():
    cancelled = threading.Event()
    told = run(endless, Turns(0), cancelled)
    next(told)
    cancelled.set()
    with pytest.raises(Cancelled):
        list(told)
    assert not [thread for thread in threading.enumerate() if "do" in thread.name]


def test_closing_the_page_ends_the_work():
    turns = Turns(0)
    told = run(endless, turns, threading.Event())
    next(told)
    told.close()
    assert list(run(lambda on_step: DONE, turns, threading.Event())) == [DONE]


def test_one_works_some_wait_and_more_are_sent_away():
    turns = Turns(1)
    first_cancelled = threading.Event()
    first = run(endless, turns, first_cancelled)
    assert isinstance(next(first), Step)
    second = run(lambda on_step: DONE, turns, threading.Event())
    assert next(second) == Waiting(1)
    with pytest.raises(RequestError, match="1 attacks are waiting"):
        next(run(endless, turns, threading.Event()))
    first_cancelled.set()
    with pytest.raises(Cancelled):
        list(first)
    assert list(second) == [DONE]


def test_whoever_waits_may_leave_the_line():
    turns = Turns(2)
    first = run(endless, turns, threading.Event())
    next(first)
    left = threading.Event()
    second = run(endless, turns, left)
    assert next(second) == Waiting(1)
    third = run(lambda on_step: DONE, turns, threading.Event())
    assert next(third) == Waiting(2)
    left.set()
    with pytest.raises(Cancelled):
        next(second)
    assert next(third) == Waiting(1)
    first.close()
    assert list(third) == [DONE]
