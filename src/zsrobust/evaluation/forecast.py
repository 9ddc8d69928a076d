"""How long an evaluation will take.

The time left is that of the passes through the classifier that are left, at the speed of those that
were made. A sample goes through the parts of an ensemble only while it stands, so passes are
expected from the share of samples that has stood each part so far.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from zsrobust.attacks import Attack

BLACK_BOX_PASS = 0.7
"""What a pass costs without a graph: of the forward or backward pass of a gradient."""

RIGHT, STAND_FIRST, STAND_LATER, UNDEFENDED_STAND = 0.7, 0.5, 0.9, 0.02
"""Shares of samples that are expected, before any is known, to be classified correctly, and to
stand an attack or an ensemble's first part, or a later part."""

FALLEN = 0.8
"""Share of an attack's passes that a sample takes which falls to it, before any has."""

OF_MODEL, OF_CELL = 4.0, 20.0
"""Samples that an expectation counts for next to what a model, or a model on one set, has shown."""

SURE_AFTER = 5.0
"""Seconds after which a part's own speed counts as much as that of the other parts."""

Part = tuple[str, float]
"""Name and radius of an attack."""
CLEAN: Part = ("clean", 0.0)
CHECKS: Part = ("checks", 0.0)


@dataclass
class _Counts:
    """Samples that met a part and stood it, and what it took."""

    met: float = 0.0
    stood: float = 0.0
    cost: float = 0.0


@dataclass
class _Speed:
    """Seconds, and the passes that were made in them."""

    seconds: float = 0.0
    passes: float = 0.0


@dataclass(eq=False)
class Work:
    """Samples of a model on a data set that go through attacks in turn, each while it stands.

    Attributes:
        model, dataset: names.
        parts: the attacks; none for the samples as they are.
        undefended: whether hardly a sample is expected to stand.
        from_right: whether samples that the model has wrong are left out, as before a first part.
        title: the attack and its radius.
        left: by chunk, how many of its samples may reach each part; one number for no part.
        met, stood: samples of finished chunks, and how many of them stood all.
    """

    model: str
    dataset: str
    parts: tuple[Attack, ...]
    undefended: bool = False
    from_right: bool = True
    title: str = ""
    left: dict[Hashable, list[float]] = field(default_factory=dict)
    met: int = 0
    stood: int = 0

    def __post_init__(self) -> None:
        self.total = [0.0] * max(1, len(self.parts))

    def add(self, chunk: Hashable, sizes: Sequence[float]) -> None:
        """Count a chunk as left."""
        self.remove(chunk)
        self.left[chunk] = [float(size) for size in sizes]
        self.total = [a + b for a, b in zip(self.total, sizes, strict=True)]

    def remove(self, chunk: Hashable) -> None:
        """Count it no longer."""
        sizes = self.left.pop(chunk, [0.0] * len(self.total))
        self.total = [a - b for a, b in zip(self.total, sizes, strict=True)]


@dataclass
class Chunk:
    """The chunk that runs: its samples, and where they are.

    Attributes:
        work, key: whose chunk, and which.
        size: samples, those that were wrong before included.
        sizes: samples that may reach each part.
        at: index of the part that runs, -1 before the first.
        ahead: samples that the part has not begun with.
        through: samples that stood the part.
        alive: samples of the current batch that the attack still runs on.
        batch: samples it began with.
        depth: passes made with each of them.
        counted: passes of this batch, by their cost.
    """

    work: Work
    key: Hashable
    size: int
    sizes: list[float]
    at: int = -1
    ahead: int = 0
    through: int = 0
    alive: int = 0
    batch: int = 0
    depth: int = 0
    counted: float = 0.0


def part_key(part: Attack | None) -> Part:
    """An attack at its radius; the samples as they are for None."""
    return CLEAN if part is None else (part.name, float(part.threat.eps))


def pass_cost(part: Attack | None) -> float:
    """Of one pass of the attack; 1 for the forward or backward pass of a gradient."""
    return BLACK_BOX_PASS if part is None or part.black_box else 1.0


def mean_cost(parts: Sequence[Attack]) -> float:
    """Of a pass of these attacks on a sample that stands them all."""
    passes = sum(part.passes for part in parts)
    return sum(pass_cost(part) * part.passes for part in parts) / max(1, passes)


class Forecast:
    """What is left of an evaluation, and how long it takes.

    Attributes:
        works: samples and their attacks.
        checks: model and passes of each check that is left.
        foreseen: passes of further work, by their cost, such as that of a plan not made yet.
        chunk: what runs.
        weights: by model, passes through the image encoder that a pass through its classifier
            takes, where that is not 1.
        assumed: the share of samples that stands whatever it meets; None to expect what was seen.
    """

    def __init__(self) -> None:
        self.assumed: float | None = None
        self.works: list[Work] = []
        self.checks: dict[Hashable, tuple[str, float]] = {}
        self.foreseen: dict[Hashable, float] = {}
        self.chunk: Chunk | None = None
        self.weights: dict[str | None, float] = {}
        self._counts: defaultdict[Hashable, _Counts] = defaultdict(_Counts)
        self._speeds: defaultdict[Hashable, _Speed] = defaultdict(_Speed)

    def count(self, work: Work, part: Attack | None, met: float, stood: float, cost: float) -> None:
        """Note samples that met a part."""
        of_model, of_cell = (work.model, None), (work.model, work.dataset)
        for names in (of_cell, of_model, (None, None)):
            counts = self._counts[(*names, part_key(part))]
            counts.met += met
            counts.stood += stood
            counts.cost += cost

    def time(self, model: str, part: Part, seconds: float, passes: float) -> None:
        """Note how long passes, by their cost, took."""
        attacks = part != CLEAN
        for key in ((model, part), (model, attacks), attacks):
            speed = self._speeds[key]
            speed.seconds += seconds
            # Those of all models are compared by the image encoder's passes.
            speed.passes += passes * (self.weights.get(model, 1.0) if key == attacks else 1.0)

    def share(self, work: Work, at: int) -> float:
        """Of the samples that meet part ``at`` of ``work``, the share expected to stand it.

        -1 for the share expected to be right before the first.
        """
        if self.assumed is not None:
            return self.assumed
        part = work.parts[at] if at >= 0 else None
        if part is None:
            prior = RIGHT
        elif part.black_box or at > 0 or not work.from_right:
            prior = STAND_LATER
        else:
            prior = UNDEFENDED_STAND if work.undefended else STAND_FIRST
        of_model, of_cell = (
            self._counts[work.model, dataset, part_key(part)] for dataset in (None, work.dataset)
        )
        prior = (of_model.stood + OF_MODEL * prior) / (of_model.met + OF_MODEL)
        return (of_cell.stood + OF_CELL * prior) / (of_cell.met + OF_CELL)

    def cost(self, work: Work, at: int) -> float:
        """Of one sample that meets part ``at``, in passes by their cost."""
        part, share = work.parts[at], self.share(work, at)
        passes = part.passes * (share + (1 - share) * self._fallen(part)) + 1
        return pass_cost(part) * passes

    def _fallen(self, part: Attack) -> float:
        """Of the part's passes, the share that a sample takes which falls to it, on any model."""
        found = self._counts[None, None, part_key(part)]
        full = max(1.0, part.passes * pass_cost(part))
        spent = min(max(0.0, found.cost / full - found.stood), found.met - found.stood)
        return (spent + OF_MODEL * FALLEN) / (found.met - found.stood + OF_MODEL)

    def pace(self, model: str | None, part: Part) -> float | None:
        """Seconds a pass; None where none was timed yet."""
        clean = part == CLEAN
        known = [self._speeds[key] for key in (not clean, clean)]
        first = next((speed for speed in known if speed.passes), None)
        if first is None:
            return None
        pace = first.seconds / first.passes * self.weights.get(model, 1.0)
        for key in ((model, not clean), (model, part)):
            speed = self._speeds[key]
            pace = (speed.seconds + SURE_AFTER) / (speed.passes + SURE_AFTER / max(pace, 1e-12))
        return pace

    def left(self) -> float | None:
        """Seconds; None where nothing was timed yet."""
        if self.pace(None, CLEAN) is None:
            return None
        seconds = sum(self._seconds(work, work.total) for work in self.works if work.left)
        if self.chunk is not None:
            seconds -= self._seconds(self.chunk.work, self.chunk.sizes)
            seconds += self._seconds_of(self.chunk)
        for model, passes in self.checks.values():
            seconds += passes * (self.pace(model, CHECKS) or 0)
        for passes in self.foreseen.values():
            seconds += passes * (self.pace(None, CHECKS) or 0)
        return max(0.0, seconds)

    def _seconds(self, work: Work, sizes: Sequence[float]) -> float:
        """Of samples that have met nothing yet."""
        if not work.parts:
            return sizes[0] * BLACK_BOX_PASS * (self.pace(work.model, part_key(None)) or 0)
        reach = self.share(work, -1) if work.from_right else 1.0
        return self._onwards(work, 0, sizes, reach * sizes[0])

    def _onwards(self, work: Work, first: int, sizes: Sequence[float], meeting: float) -> float:
        """Of the parts from ``first`` on, which ``meeting`` samples are expected to meet."""
        seconds = 0.0
        for at in range(first, len(work.parts)):
            pace = self.pace(work.model, part_key(work.parts[at])) or 0
            seconds += meeting * self.cost(work, at) * pace
            meeting *= self.share(work, at)
            if at + 1 < len(work.parts):
                meeting *= sizes[at + 1] / sizes[at] if sizes[at] else 0
        return seconds

    def _seconds_of(self, chunk: Chunk) -> float:
        """Of the chunk that runs, from where it is."""
        work, at = chunk.work, chunk.at
        if at < 0:
            return self._seconds(work, chunk.sizes)
        part = work.parts[at]
        share = self.share(work, at)
        progress = min(1.0, chunk.depth / max(1, part.passes))
        ahead = chunk.alive * (part.passes - min(chunk.depth, part.passes)) * pass_cost(part)
        ahead += chunk.ahead * self.cost(work, at)
        # An attack that lets go of what fell: those that are left have stood most of it.
        lets_go = chunk.alive < chunk.batch
        alive_share = share / (share + (1 - share) * (1 - progress)) if lets_go else share
        stand = chunk.through + chunk.alive * alive_share + chunk.ahead * share
        seconds = ahead * (self.pace(work.model, part_key(part)) or 0)
        if at + 1 < len(work.parts):
            ratio = chunk.sizes[at + 1] / chunk.sizes[at] if chunk.sizes[at] else 0
            seconds += self._onwards(work, at + 1, chunk.sizes, stand * ratio)
        return seconds
