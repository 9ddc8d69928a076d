"""What the page's buttons do, without the page: raw values in, what to show out."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from PIL import Image
from torch import Tensor

from zsrobust.serve import html
from zsrobust.serve.attack import Settings
from zsrobust.serve.comparison import Attacked, Comparison, Prediction, clean_predictions, compare
from zsrobust.serve.limits import Limits
from zsrobust.serve.picture import Picture, read_picture
from zsrobust.serve.served import ServedModel
from zsrobust.utils.errors import RequestError, ZSRobustError
from zsrobust.utils.plain_json import plain_json

TOP = 5
"""Classes shown of a prediction."""

Progress = Callable[[int, int, str], object]
"""Called with the steps taken, the steps of all models, and a sentence; as ``gr.Progress``."""


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
class PageState:
    """What the page is to show.

    Attributes:
        status: HTML at the top.
        columns: one a model; None leaves everything but the status as it is.
        table: HTML below the columns.
        files: downloads.
    """

    status: str
    columns: list[Column] | None = None
    table: str = ""
    files: list[Path] = field(default_factory=list)


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


class Cancelled(Exception):
    """The visitor no longer wants the result."""


class Handlers:
    """The actions of the page over some models.

    Gradio queues the calls and runs one attack at a time. It stops waiting for a cancelled call,
    but cannot stop its thread; so ``cancel`` sets an event that ends the attack at its next step.

    Args:
        models: in the order of the page's columns.
        limits: on what visitors may ask for.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits) -> None:
        self.models = models
        self.limits = limits
        self._running: dict[str, Event] = {}

    def predict(self, form: FormValues) -> PageState:
        """What each model predicts; results of an earlier attack are cleared."""
        try:
            picture, names = self._read(form)
            columns = self._before(picture, names)
            remarks = html.remarks(picture, names, self.models)
        except Exception as error:
            return PageState(_refusal(error), [Column() for _ in self.models])
        return PageState(remarks, columns)

    def attack(self, form: FormValues, visitor: str, progress: Progress) -> Iterator[PageState]:
        """Attack the image through each model: the clean predictions, then the comparison.

        ``visitor`` names who may cancel it. The files of the last state exist until the iterator
        is asked for more, or closed.
        """
        cancelled = self._running[visitor] = Event()
        try:
            picture, names = self._read(form)
            settings = Settings(
                self.limits.read_eps(form.eps),
                self.limits.read_steps(form.steps),
                self.limits.read_target(form.target, names),
            )
            yield PageState(html.paragraphs("Starting."), self._before(picture, names))
            order = [one.name for one in self.models]

            def on_step(model: str, taken: int, loss: float) -> None:
                if cancelled.is_set():
                    raise Cancelled
                done = order.index(model) * settings.steps + taken
                sentence = f"Attacking {model}: step {taken} of {settings.steps}, loss {loss:.2f}"
                progress(done, len(order) * settings.steps, sentence)

            found = compare(picture, names, settings, self.models, on_step)
            yield from self._result(found)
        except Cancelled:
            yield PageState(html.paragraphs("Cancelled."))
        except Exception as error:
            yield PageState(_refusal(error))
        finally:
            if self._running.get(visitor) is cancelled:
                del self._running[visitor]

    def cancel(self, visitor: str) -> None:
        """End the attack that this visitor runs, if any."""
        if running := self._running.get(visitor):
            running.set()

    def _read(self, form: FormValues) -> tuple[Picture, tuple[str, ...]]:
        given = form.image if isinstance(form.image, dict) else {}
        if not given.get("path"):
            raise RequestError("drop an image first, or choose an example")
        path, name = str(given["path"]), str(given.get("orig_name") or "")
        picture = read_picture(path, self.limits, name)
        return picture, self.limits.read_class_names(form.class_names)

    def _before(self, picture: Picture, names: tuple[str, ...]) -> list[Column]:
        found = clean_predictions(picture, names, self.models)
        groups = {one.name: one.indistinguishable(names) for one in self.models}
        return [Column(before=_top(found[name].merged(groups[name]))) for name in groups]

    def _result(self, found: Comparison) -> Iterator[PageState]:
        with tempfile.TemporaryDirectory(prefix="zsrobust-") as folder:
            images, changes, numbers = write_files(found, Path(folder))
            columns = [
                Column(
                    _top(found.merged(one.on, found.clean[one.on])),
                    _top(found.merged(one.on, one.predictions[one.on])),
                    image,
                    change,
                )
                for one, image, change in zip(found.attacked, images, changes, strict=True)
            ]
            files = [*images, *changes, numbers]
            status = html.outcome(found, self.models)
            yield PageState(status, columns, html.comparison(found), files)


def write_files(found: Comparison, folder: Path) -> tuple[list[Path], list[Path], Path]:
    """Write all of it into ``folder``.

    Returns:
        The attacked images and their changes, one a model in order, and the numbers.
    """
    images, changes = [], []
    for number, one in enumerate(found.attacked, start=1):
        name = f"{number}-{_file_name(one.on)}"
        images.append(_save_png(one.adversarial, folder / f"attacked-{name}.png"))
        change = magnified(one, found.settings.threat.eps)
        changes.append(_save_png(change, folder / f"change-{name}.png"))
    numbers = folder / "comparison.json"
    content = json.loads(plain_json(found.figures()))
    numbers.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return images, changes, numbers


def magnified(one: Attacked, eps: float) -> Tensor:
    """The change (3, H, W) in [0, 1]: mid-grey is none, black and white are eps down and up."""
    if eps == 0:
        return one.clean * 0 + 0.5
    return 0.5 + (one.adversarial - one.clean) / (2 * eps)


def _save_png(pixels: Tensor, path: Path) -> Path:
    """Write pixels (3, H, W) in [0, 1], rounded to 256 levels, and return ``path``."""
    levels = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(levels).save(path)
    return path


def _file_name(model: str) -> str:
    """A model's name as part of a file's."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", model).strip("-.")[-60:] or "model"


def _top(prediction: Prediction) -> dict[str, float]:
    return dict(list(prediction.probabilities.items())[:TOP])


def _refusal(error: Exception) -> str:
    if isinstance(error, ZSRobustError):
        return html.paragraphs(str(error)[:1].upper() + str(error)[1:] + ".", error=True)
    # A failure that is not the visitor's is logged for the operator of the server.
    logging.getLogger(__name__).exception("a visitor's request failed")
    return html.paragraphs("Something failed here; the server's terminal says what.", error=True)
