"""The time that an evaluation is expected to take, against a simulated one."""

import random
from dataclasses import dataclass

import pytest

from zsrobust.attacks import ThreatModel
from zsrobust.evaluation import progress as module
from zsrobust.evaluation.forecast import Forecast
from zsrobust.evaluation.progress import EvaluationProgress

THREAT = ThreatModel("linf", 8 / 255)


@dataclass(frozen=True)
class Part:
    """An attack of so many passes, which such a share of the samples stands."""

    name: str
    passes: int
    stands: float
    lets_go: bool = True
    threat: ThreatModel = THREAT
    black_box: bool = False


@dataclass(frozen=True)
class Parts:
    name: str
    parts: tuple[Part, ...]
    threat: ThreatModel = THREAT


AUTOATTACK = Parts(
    "autoattack",
    (
        Part("ce", 204, 0.4, lets_go=False),
        Part("t", 1829, 0.8),
        Part("fab", 2729, 1.0),
        Part("square", 5004, 0.98),
    ),
)
PGD = Part("pgd-10", 20, 0.3, lets_go=False)


class Simulated:
    """Models on data sets, their chunks of samples evaluated on a clock of our own."""

    def __init__(self, attack, cells, n, monkeypatch, seconds_a_pass=0.05):
        self.now, self.estimates, self.pace = 0.0, [], seconds_a_pass
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.progress = EvaluationProgress("evaluating")
        self.attack, self.random = attack, random.Random(0)
        self.parts = getattr(attack, "parts", (attack,))
        chunks = [(at, min(100, n - at)) for at in range(0, n, 100)]
        names = [(f"model-{m}", f"set-{s}") for m in range(cells[0]) for s in range(cells[1])]
        works = []
        for name in names:
            pair = [self.progress.work(*name, one) for one in (None, attack)]
            for work in pair:
                for at, size in chunks:
                    work.add(at, [size] * len(work.total))
            works.append(pair)
        right = {}
        for number, (clean, _) in enumerate(works):
            for at, size in chunks:
                self.progress.begin(clean, at, size)
                self.pass_time(size)
                fell = ["" if self.random.random() < 0.8 else "clean" for _ in range(size)]
                right[number, at] = fell
                self.progress.finish(clean, at, fell)
        for number, (_, work) in enumerate(works):
            for at, size in chunks:
                self.progress.begin(work, at, size)
                self.progress.finish(work, at, self.chunk(right[number, at]))
        assert self.progress.left() == pytest.approx(0, abs=1e-6)

    def pass_time(self, samples):
        self.now += samples * self.pace
        self.look()

    def look(self):
        left = self.progress.left()
        if left is not None:
            self.estimates.append((self.now, left))

    def chunk(self, fell_to):
        fell_to = list(fell_to)
        for part in self.parts:
            standing = [at for at, name in enumerate(fell_to) if not name]
            self.progress.start(part, len(standing))
            fall = {at for at in standing if self.random.random() > part.stands}
            alive = len(standing)
            for step in range(part.passes // 2):
                if part.lets_go and step == part.passes // 20:
                    alive -= len(fall)
                if alive:
                    self.now += 2 * alive * self.pace
                    self.progress.passed(alive, 2)
                    self.look()
            for at in fall:
                fell_to[at] = part.name
            self.progress.judged(len(standing), len(standing) - len(fall))
        return fell_to


@pytest.mark.parametrize(("cells", "n"), [((2, 3), 200), ((1, 1), 1000)])
def test_under_pgd_the_time_left_is_true_to_30_per_cent_from_a_tenth_on(cells, n, monkeypatch):
    run = Simulated(PGD, cells, n, monkeypatch)
    late = [(at, left) for at, left in run.estimates if 0.1 * run.now <= at <= 0.95 * run.now]
    assert len(late) > 50
    assert all(abs(at + left - run.now) < 0.3 * (run.now - at) for at, left in late)


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "n"), [((1, 2), 200), ((2, 1), 300)])
def test_under_autoattack_the_time_in_all_is_true_to_30_per_cent(cells, n, monkeypatch):
    """The time left is not: how many of the last samples stand is not known before."""
    run = Simulated(AUTOATTACK, cells, n, monkeypatch)
    late = [(at, left) for at, left in run.estimates if at >= 0.1 * run.now]
    assert len(late) > 1000
    assert all(abs(at + left - run.now) < 0.3 * run.now for at, left in late)


def test_what_is_on_disk_counts_as_done(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = EvaluationProgress("evaluating")
    clean, work = progress.work("m", "s", None), progress.work("m", "s", PGD)
    for at in range(10):
        work.add(at, [100])
    clean.add("c", [1000])
    progress.begin(clean, "c", 1000)
    now[0] += 1.0
    progress.finish(clean, "c", [""] * 1000)
    before = progress.left()
    for at in range(5):
        progress.finish(work, at, [""] * 50 + ["pgd-10"] * 50)
    now[0] += 10.0
    progress.finish(work, 5, [""] * 50 + ["pgd-10"] * 50)
    # Four of ten chunks are left; half of the samples stand, as was expected.
    assert progress.left() == pytest.approx(0.4 * before, rel=0.2)


def test_a_model_not_timed_yet_is_expected_to_take_its_weight_in_passes():
    forecast = Forecast()
    forecast.weights["behind"] = 8.0
    forecast.time("bare", ("pgd-10", 0.1), 3.0, 30)
    assert forecast.pace("bare", ("pgd-10", 0.1)) == pytest.approx(0.1)
    assert forecast.pace("behind", ("pgd-10", 0.1)) == pytest.approx(0.8)
    forecast.time("behind", ("pgd-10", 0.1), 4000.0, 2000)
    assert forecast.pace("behind", ("pgd-10", 0.1)) == pytest.approx(2.0, rel=0.01)
    # 4000 s of 16000 passes of the encoder, and 3 s of 30.
    assert forecast.pace("another", ("pgd-10", 0.1)) == pytest.approx(0.25, rel=0.01)
