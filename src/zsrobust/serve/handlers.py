"""What the page's buttons do, without the page: raw values in, what to show out."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from zsrobust.serve import words
from zsrobust.serve.attack import Settings
from zsrobust.serve.comparison import Comparison, Said, clean_words, compare
from zsrobust.serve.files import write_files
from zsrobust.serve.job import Cancelled, Step, Waiting, run
from zsrobust.serve.limits import Limits
from zsrobust.serve.picture import Picture, read_picture
from zsrobust.serve.served import Served
from zsrobust.serve.turns import Turns
from zsrobust.utils.errors import RequestError, ZSRobustError

TOP = 5
"""Classes shown of a prediction."""


@dataclass(frozen=True)
class Column:
    """What is shown of one model; None shows nothing.

    Attributes:
        before, after: probabilities of the likeliest classes.
        attacked, change: picture files.
    """

    before: dict[str, float] | None = None
    after: dict[str, float] | None = None
    attacked: Path | None = None
    change: Path | None = None


@dataclass(frozen=True)
class Shown:
    """What the page is to show.

    Attributes:
        status: HTML at the top.
        columns: one a model; None leaves everything but the status as it is.
        table: HTML below the columns.
        files: to take away.
    """

    status: str
    columns: list[Column] | None = None
    table: str = ""
    files: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """Values as the page sends them; anything may stand in them.

    Attributes:
        image: an uploaded file: a dictionary with ``path`` and ``orig_name``, or None.
        class_names, eps, steps, target: see ``Limits``.
    """

    image: Any
    class_names: Any
    eps: Any = "4/255"
    steps: Any = 20
    target: Any = ""


class Handlers:
    """The actions of the page over some models.

    Args:
        models: in the order of the page's columns.
        limits: on what visitors may ask for.
    """

    def __init__(self, models: Sequence[Served], limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self._turns = Turns(limits.waiting)
        self._running: dict[str, Event] = {}

    def predict(self, asked: Asked) -> Shown:
        """What each model says of the image; results of an earlier attack are cleared."""
        try:
            picture, names = self._picture(asked), self.limits.read_class_names(asked.class_names)
            columns = self._before(picture, names)
            remarks = words.remarks(picture, names, self.models)
        except Exception as error:
            return Shown(_refusal(error), self._nothing())
        return Shown(remarks, columns)

    def attack(self, asked: Asked, visitor: str) -> Iterator[Shown]:
        """Attack the image through each model: progress, then the comparison.

        ``visitor`` names who may cancel it. Files of the last word are there until the iterator
        is asked for more, or closed.
        """
        cancelled = Event()
        # A second attack of one visitor takes the place of the first.
        self.cancel(visitor)
        self._running[visitor] = cancelled
        try:
            picture, names = self._picture(asked), self.limits.read_class_names(asked.class_names)
            settings = Settings(
                self.limits.read_eps(asked.eps),
                self.limits.read_steps(asked.steps),
                self.limits.read_target(asked.target, names),
            )
            yield Shown(words.lines("Starting."), self._before(picture, names))
            work = partial(compare, picture, names, settings, self.models)
            for told in run(work, self._turns, cancelled):
                if isinstance(told, Comparison):
                    yield from self._result(told)
                else:
                    yield Shown(self._progress(told, settings))
        except Cancelled:
            yield Shown(words.lines("Cancelled."))
        except Exception as error:
            yield Shown(_refusal(error))
        finally:
            if self._running.get(visitor) is cancelled:
                del self._running[visitor]

    def cancel(self, visitor: str) -> None:
        """End the attack that this visitor runs or waits for, if any."""
        if running := self._running.get(visitor):
            running.set()

    def _picture(self, asked: Asked) -> Picture:
        given = asked.image if isinstance(asked.image, dict) else {}
        if not given.get("path"):
            raise RequestError("drop an image first, or choose an example")
        path = str(given["path"])
        return read_picture(path, self.limits, str(given.get("orig_name") or ""))

    def _before(self, picture: Picture, names: tuple[str, ...]) -> list[Column]:
        said = clean_words(picture, names, self.models)
        return [Column(before=_top(said[one.name].merged(one.alike(names)))) for one in self.models]

    def _nothing(self) -> list[Column]:
        return [Column() for _ in self.models]

    def _progress(self, told: Waiting | Step, settings: Settings) -> str:
        if isinstance(told, Waiting):
            return words.waiting(told)
        return words.progress(told, [one.name for one in self.models], settings.steps)

    def _result(self, found: Comparison) -> Iterator[Shown]:
        with tempfile.TemporaryDirectory(prefix="zsrobust-") as folder:
            images, changes, numbers = write_files(found, Path(folder))
            columns = [
                Column(
                    _top(found.merged(one.on, found.clean[one.on])),
                    _top(found.merged(one.on, one.said[one.on])),
                    image,
                    change,
                )
                for one, image, change in zip(found.attacked, images, changes, strict=True)
            ]
            files = [*images, *changes, numbers]
            status = words.outcome(found, self.models)
            yield Shown(status, columns, words.comparison(found), files)


def _top(said: Said) -> dict[str, float]:
    return dict(list(said.probabilities.items())[:TOP])


def _refusal(error: Exception) -> str:
    if isinstance(error, ZSRobustError):
        return words.lines(str(error)[:1].upper() + str(error)[1:] + ".", wrong=True)
    # What a visitor cannot mend is told to whoever runs the server.
    logging.getLogger(__name__).exception("a visitor's request failed")
    return words.lines("Something failed here; the server's terminal says what.", wrong=True)
