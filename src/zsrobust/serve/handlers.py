"""What the page's buttons do, without the page: raw values in, what to show out."""

from __future__ import annotations

import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from zsrobust.serve import html
from zsrobust.serve.attack import Settings, Step
from zsrobust.serve.card import Progress, card, magnified, png
from zsrobust.serve.comparison import Comparison, Prediction, clean_predictions, compare
from zsrobust.serve.limits import Limits
from zsrobust.serve.picture import Picture, read_picture
from zsrobust.serve.served import ServedModel
from zsrobust.serve.worker import Cancelled, Job, Waiting, Worker
from zsrobust.utils.errors import RequestError, ZSRobustError
from zsrobust.utils.plain_json import plain_json

FRAMES = 10
"""Redraws of an attack on one model, at least."""
SECONDS = 0.25
"""After these the next step is drawn."""
FRAME_SECONDS = 0.1
"""Between two redraws, at least, so that a browser shows each; the attack does not wait."""


@dataclass(frozen=True)
class PageState:
    """What changes on the page; what is None stays as it is.

    Attributes:
        status: HTML above the cards.
        cards: HTML of the models' cards, by position.
        table: HTML below the cards.
        files: downloads: for each model the adversarial image and the perturbation, then the
            results. Empty for none.
    """

    status: str
    cards: dict[int, str] = field(default_factory=dict)
    table: str | None = None
    files: list[Path] | None = None


@dataclass(frozen=True)
class FormValues:
    """Values as the page sends them, not yet checked.

    Attributes:
        image: an uploaded file: a dictionary with ``path`` and ``orig_name``, or None.
        class_names, eps, steps, target: see ``Limits``.
    """

    image: Any
    class_names: Any
    eps: Any = "4/255"
    steps: Any = 20
    target: Any = ""


@dataclass(frozen=True)
class Frame:
    """An iterate of the attack on a model."""

    model: str
    step: Step


class Handlers:
    """The actions of the page over some models.

    Attacks run one at a time in a thread of their own.

    Args:
        models: in the order of the page's cards.
        limits: on what visitors may ask for.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self._worker = Worker(limits.waiting)
        self._jobs: dict[str, Job[Frame, Comparison]] = {}

    def predict(self, form: FormValues) -> PageState:
        """What each model predicts; results of an earlier attack are cleared."""
        try:
            picture, names = self._read(form)
            view = _View(picture, names, self.models)
            remarks = html.remarks(picture, names, self.models)
        except Exception as error:
            cards = {place: card(one.name) for place, one in enumerate(self.models)}
            return PageState(_refusal(error), cards, "", [])
        return PageState(remarks, view.cards(), "", [])

    def attack(self, form: FormValues, visitor: str) -> Iterator[PageState]:
        """Attack the image on each model: the clean predictions, iterates, and the comparison.

        ``visitor`` names who may cancel it. The files of the last state exist until the iterator
        is asked for more, or closed.
        """
        job = self._jobs[visitor] = Job()
        try:
            picture, names = self._read(form)
            settings = Settings(
                self.limits.read_eps(form.eps),
                self.limits.read_steps(form.steps),
                self.limits.read_target(form.target, names),
            )
            view = _View(picture, names, self.models)
            yield PageState(html.paragraphs("Starting."), view.cards(), "", [])
            on_step = _selected(job, settings.steps)
            self._worker.submit(
                job, lambda: compare(picture, names, settings, self.models, on_step)
            )
            for report in job.follow(FRAME_SECONDS):
                yield _queued(report) if isinstance(report, Waiting) else view.at(report, settings)
            yield from self._result(job.result(), view)
        except Cancelled:
            yield PageState(html.paragraphs("Cancelled."))
        except Exception as error:
            # Nothing of an earlier attack stays below the refusal.
            yield replace(self.predict(form), status=_refusal(error))
        finally:
            job.cancel()
            if self._jobs.get(visitor) is job:
                del self._jobs[visitor]

    def cancel(self, visitor: str) -> None:
        """End the attack of this visitor, if any."""
        if job := self._jobs.get(visitor):
            job.cancel()

    def close(self) -> None:
        """End all attacks."""
        self._worker.close()

    def _read(self, form: FormValues) -> tuple[Picture, tuple[str, ...]]:
        given = form.image if isinstance(form.image, dict) else {}
        if not given.get("path"):
            raise RequestError("choose an image or an example first")
        path, name = str(given["path"]), str(given.get("orig_name") or "")
        picture = read_picture(path, self.limits, name)
        return picture, self.limits.read_class_names(form.class_names)

    def _result(self, found: Comparison, view: _View) -> Iterator[PageState]:
        with tempfile.TemporaryDirectory(prefix="zsrobust-") as folder:
            files = write_files(found, Path(folder))
            cards = view.cards(found)
            yield PageState(html.outcome(found, self.models), cards, html.comparison(found), files)


class _View:
    """The cards of one request: the clean predictions are taken once."""

    def __init__(
        self, picture: Picture, names: tuple[str, ...], models: Sequence[ServedModel]
    ) -> None:
        predictions = clean_predictions(picture, names, models)
        self._names = names
        self._groups = {one.name: one.indistinguishable(names) for one in models}
        self._clean = {
            one.name: (one.pixels(picture)[0].cpu(), self._merged(one.name, predictions[one.name]))
            for one in models
        }

    def _merged(self, model: str, prediction: Prediction) -> Prediction:
        return prediction.merged(self._groups[model])

    def cards(self, found: Comparison | None = None) -> dict[int, str]:
        """All cards, before an attack or after it."""
        if found is None:
            return {
                place: card(name, clean) for place, (name, clean) in enumerate(self._clean.items())
            }
        return {
            place: card(
                one.model,
                self._clean[one.model],
                (one.adversarial, self._merged(one.model, one.predictions[one.model])),
                eps=found.settings.threat.eps,
            )
            for place, one in enumerate(found.attacked)
        }

    def at(self, frame: Frame, settings: Settings) -> PageState:
        """The card of the model under attack."""
        models = list(self._clean)
        place, step = models.index(frame.model), frame.step
        prediction = Prediction.of(self._names, step.probabilities)
        shown = card(
            frame.model,
            self._clean[frame.model],
            (step.image, self._merged(frame.model, prediction)),
            eps=settings.threat.eps,
            progress=Progress(step.taken, settings.steps, step.loss),
        )
        which = f" ({place + 1} of {len(models)})" if len(models) > 1 else ""
        return PageState(html.paragraphs(f"Attacking {frame.model}{which}."), {place: shown})


def _selected(job: Job[Frame, Comparison], steps: int) -> Callable[[str, Step], None]:
    """Reports every few iterates to the job, and ends it at any step once it is cancelled."""
    every, last = max(1, steps // FRAMES), 0.0

    def on_step(model: str, step: Step) -> None:
        nonlocal last
        job.check()
        now = time.monotonic()
        if step.taken % every == 0 or step.taken == steps or now - last >= SECONDS:
            last = now
            cpu = Step(step.taken, step.loss, step.image.cpu(), step.probabilities.cpu())
            job.report(Frame(model, cpu))

    return on_step


def _queued(waiting: Waiting) -> PageState:
    attacks = "1 attack" if waiting.ahead == 1 else f"{waiting.ahead} attacks"
    return PageState(html.paragraphs(f"In queue: {attacks} ahead of you."))


def write_files(found: Comparison, folder: Path) -> list[Path]:
    """Write all of it into ``folder``.

    Returns:
        For each model the adversarial image and the perturbation, then the numbers.
    """
    paths = []

    def write(name: str, pixels: Tensor) -> None:
        paths.append(folder / name)
        paths[-1].write_bytes(png(pixels))

    for number, one in enumerate(found.attacked, start=1):
        name = f"{number}-{_file_name(one.model)}.png"
        write(f"adversarial-{name}", one.adversarial)
        change = magnified(one.clean, one.adversarial, found.settings.threat.eps)
        write(f"perturbation-{name}", change)
    numbers = folder / "comparison.json"
    content = json.loads(plain_json(found.figures()))
    numbers.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return [*paths, numbers]


def _file_name(model: str) -> str:
    """A model's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")[-60:] or "model"


def _refusal(error: Exception) -> str:
    if isinstance(error, ZSRobustError):
        return html.paragraphs(html.sentence(str(error)[:1].upper() + str(error)[1:]), error=True)
    # A failure that is not the visitor's is logged for the operator of the server.
    logging.getLogger(__name__).exception("a visitor's request failed")
    return html.paragraphs("Internal error: see the server's log.", error=True)
