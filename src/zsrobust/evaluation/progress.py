"""Progress of an evaluation: which attack runs, how many samples stand, and the time left."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

from zsrobust.attacks import Attack
from zsrobust.evaluation.forecast import CHECKS, Chunk, Forecast, Part, Work, part_key, pass_cost
from zsrobust.models.names import short_names
from zsrobust.utils.progress import Bar
from zsrobust.utils.units import format_radius

LEAST_SECONDS = 0.5
"""Between two estimates."""


class EvaluationProgress(Bar):
    """The progress of an evaluation, which is told what runs.

    Samples come in chunks. Of each that is not on disk it is told that it begins, the parts that
    run on it, every pass through the classifier, and each batch that is through; of every chunk,
    on disk or not, its outcomes.

    Attributes:
        forecast: what is left.
    """

    def __init__(self, title: str = "", *, quiet: bool = True) -> None:
        super().__init__(title, quiet=quiet)
        self.forecast = Forecast()
        self.count = "0 %"
        self._works: dict[tuple[str, str, Part], Work] = {}
        self._names: dict[str, str] = {}
        self._estimate: float | None = None
        # Passes, by their cost: of chunks that were on disk, and not yet timed.
        self._on_disk = self._pending = 0.0
        self._timed = self._next = time.monotonic()

    def work(
        self,
        model: str,
        dataset: str,
        attack: Attack | None,
        *,
        undefended: bool = False,
        parts: Sequence[Attack] | None = None,
    ) -> Work:
        """What is to be done of one attack, or of none; begun with nothing.

        Args:
            model, dataset: names.
            attack: the attack.
            undefended: whether hardly a sample is expected to stand.
            parts: those of its parts that run, if it is not all on samples as they are.
        """
        all_parts = () if attack is None else tuple(getattr(attack, "parts", (attack,)))
        work = Work(model, dataset, all_parts if parts is None else tuple(parts), undefended)
        work.from_right = parts is None
        if attack is not None:
            work.title = f"{attack.name} {format_radius(attack.threat.norm, attack.threat.eps)}"
        self._works[model, dataset, part_key(attack)] = work
        self.forecast.works.append(work)
        self._names = short_names(list(dict.fromkeys(one.model for one in self.forecast.works)))
        return work

    def find(self, model: str, dataset: str, attack: Attack | None) -> Work | None:
        """The work of this attack."""
        return self._works.get((model, dataset, part_key(attack)))

    def left(self) -> float | None:
        """From the passes that are left; see :mod:`zsrobust.evaluation.forecast`."""
        return self._estimate

    def begin(self, work: Work | None, chunk: Hashable, samples: int) -> None:
        """A chunk of so many samples, fallen ones included, begins."""
        self._timed = time.monotonic()
        if work is not None:
            sizes = work.left.get(chunk, [float(samples)] * len(work.total))
            work.add(chunk, sizes)
            self.forecast.chunk = Chunk(work, chunk, samples, list(sizes))

    def start(self, part: Attack, samples: int) -> None:
        """The next part begins, on so many samples that stand."""
        chunk = self.forecast.chunk
        if chunk is not None:
            chunk.at += 1
            chunk.ahead, chunk.through = samples, 0
            chunk.alive = chunk.batch = chunk.depth = 0
            self._show(chunk.work)

    def passed(self, samples: int, passes: int) -> None:
        """So many samples went through the classifier, each in so many passes."""
        chunk = self.forecast.chunk
        if chunk is None:
            return
        if chunk.batch == 0:
            chunk.batch = min(samples, chunk.ahead)
            chunk.ahead -= chunk.batch
        chunk.alive = min(samples, chunk.batch)
        chunk.depth += passes
        part = chunk.work.parts[chunk.at]
        chunk.counted += samples * passes * pass_cost(part)
        self._pending += samples * passes * pass_cost(part)
        if time.monotonic() >= self._next:
            self._time(chunk.work, part)
            self._show(chunk.work)

    def judged(self, samples: int, stood: int) -> None:
        """The part is through with a batch, of which so many stand."""
        chunk = self.forecast.chunk
        if chunk is None:
            return
        work, part = chunk.work, chunk.work.parts[chunk.at]
        if chunk.batch == 0:
            # A classifier that does not say what passes through it.
            chunk.ahead -= samples
            chunk.counted = samples * self.forecast.cost(work, chunk.at)
            self._pending += chunk.counted
        self.forecast.count(work, part, samples, stood, chunk.counted)
        chunk.through += stood
        chunk.alive = chunk.batch = chunk.depth = 0
        chunk.counted = 0.0
        self._time(work, part)

    def finish(self, work: Work | None, chunk: Hashable, fell_to: Sequence[str]) -> None:
        """The outcomes of a chunk are there: what each of its samples fell to."""
        if work is None:
            return
        now = self.forecast.chunk
        running = now is not None and now.work is work and now.key == chunk
        if not work.parts:
            self._count_clean(work, fell_to, running)
        elif work.from_right and not running:
            self._count_parts(work, fell_to)
        work.remove(chunk)
        work.met += len(fell_to)
        work.stood += sum(name == "" for name in fell_to)
        if running:
            self.forecast.chunk = None
        if running or time.monotonic() >= self._next:
            self._show(work)

    @contextmanager
    def check(self, key: Hashable) -> Iterator[None]:
        """The check of that key runs in the block."""
        model, passes = self.forecast.checks[key]
        self.figures = [f"checks of {self._names.get(model, model)}"]
        before = time.monotonic()
        yield
        del self.forecast.checks[key]
        self.forecast.time(model, CHECKS, time.monotonic() - before, passes)
        self._show(None)

    def _count_clean(self, work: Work, fell_to: Sequence[str], running: bool) -> None:
        right = sum(name != "clean" for name in fell_to)
        cost = len(fell_to) * pass_cost(None)
        self.forecast.count(work, None, len(fell_to), right, cost)
        if running:
            self._pending += cost
            self._time(work, None)
        else:
            self._on_disk += cost

    def _count_parts(self, work: Work, fell_to: Sequence[str]) -> None:
        """Of a chunk that was on disk."""
        standing = sum(name != "clean" for name in fell_to)
        for at, part in enumerate(work.parts):
            cost = standing * self.forecast.cost(work, at)
            stood = standing - sum(name == part.name for name in fell_to)
            self.forecast.count(work, part, standing, stood, cost)
            self._on_disk += cost
            standing = stood

    def _time(self, work: Work, part: Attack | None) -> None:
        now = time.monotonic()
        self.forecast.time(work.model, part_key(part), now - self._timed, self._pending)
        self._timed, self._pending = now, 0.0

    def _show(self, work: Work | None) -> None:
        before = time.monotonic()
        self._estimate = left = self.forecast.left()
        if left is not None:
            done = before - self._began + self._on_disk * (self.forecast.pace(None, CHECKS) or 0)
            self.share = done / max(done + left, 1e-9)
            self.count = f"{self.share:.0%}"
        if work is not None:
            self.figures = [*self._standing(work), f"{self._names[work.model]} on {work.dataset}"]
        self.line_if_due()
        now = time.monotonic()
        # A hundredth of the time at most.
        self._next = now + max(LEAST_SECONDS, 100 * (now - before))

    def _standing(self, work: Work) -> list[str]:
        """Which part runs, how many of the samples so far stand, and of what it is a part."""
        chunk = self.forecast.chunk
        if not work.parts:
            return [f"clean, {work.stood} of {work.met} right"]
        if chunk is None or chunk.work is not work or chunk.at < 0:
            return [f"{work.title}, {work.stood} of {work.met} stand"]
        stand = work.stood + chunk.through + chunk.alive + chunk.ahead
        standing = f"{stand} of {work.met + chunk.size} stand"
        if len(work.parts) == 1 and work.from_right:
            return [f"{work.title}, {standing}"]
        return [f"{work.parts[chunk.at].name}, {standing}", work.title]
