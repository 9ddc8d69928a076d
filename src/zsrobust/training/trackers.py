"""Experiment trackers, through accelerate: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.utils.errors import RequestError
from zsrobust.utils.extras import require_installed
from zsrobust.utils.files import write_text
from zsrobust.utils.progress import Steps

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "zsrobust"
IDS = "trackers.json"
"""Where a run folder keeps what its trackers call the run, so that a resumed one goes on there."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose library is not installed.

    Raises:
        RequestError: naming the command that installs it.
    """
    for name in names:
        require_installed(name, name)


class Trackers:
    """The trackers of one run.

    Args:
        names: of accelerate's trackers.
        folder: the run folder.
        settings: the run's configuration in plain types.
        accelerator: of the run; only its first process tracks.
    """

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        settings: Mapping[str, Any],
        accelerator: Accelerator,
    ) -> None:
        self.names = names
        self.folder = folder
        self.settings = settings
        self.accelerator = accelerator

    def start(self, done: int) -> None:
        """Begin, or go on after step ``done``; nothing where there is no tracker.

        Raises:
            RequestError: if a tracker does not start.
        """
        if not self.names:
            return
        from accelerate.tracking import filter_trackers

        ids = self._ids()
        accelerator: Any = self.accelerator
        accelerator.log_with = filter_trackers(list(self.names), str(self.folder))
        accelerator.project_configuration.logging_dir = str(self.folder / "tensorboard")
        run = {"name": self.folder.name, "dir": str(self.folder), "resume": "allow"}
        try:
            accelerator.init_trackers(
                PROJECT,
                # A run that goes on has them already.
                config=None if ids else dict(_flat(self.settings)),
                init_kwargs={
                    # What a killed run wrote beyond its last checkpoint is not shown.
                    "tensorboard": {"purge_step": done + 1},
                    "wandb": {**run, "id": ids.get("wandb") or uuid.uuid4().hex[:12]},
                    "mlflow": {"run_name": self.folder.name, "run_id": ids.get("mlflow")},
                },
            )
        # Each library raises its own.
        except Exception as error:
            for tracker in accelerator.trackers:
                # One that did not start may have nothing to finish.
                with suppress(Exception):
                    tracker.finish()
            accelerator.trackers.clear()
            details = " ".join(str(error).split())[:300]
            hint = "; WANDB_MODE=offline needs no login" if "wandb" in self.names else ""
            raise RequestError(
                f"trackers: {', '.join(self.names)} did not start: {details}{hint}"
            ) from None
        self._write_ids()

    def log(self, kind: str, step: int, figures: Mapping[str, Any]) -> None:
        """The numbers of a line of ``metrics.jsonl``, as ``KIND/NAME``.

        A tracker that fails is left out from then on, with a warning: the run goes on.
        """
        numbers = {
            f"{kind}/{key}": value
            for key, value in figures.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for tracker in list(self.accelerator.trackers):
            try:
                tracker.log(numbers, step=step)
            except Exception as error:
                details = " ".join(str(error).split())[:300]
                self.accelerator.trackers.remove(tracker)
                Steps("", 1).say(f"warning: {tracker.name} is left out from here on: {details}")

    def finish(self) -> None:
        """Close all, so that what was logged is sent."""
        for tracker in self.accelerator.trackers:
            try:
                tracker.finish()
            except Exception as error:
                details = " ".join(str(error).split())[:300]
                Steps("", 1).say(f"warning: {tracker.name} did not finish: {details}")
        self.accelerator.trackers.clear()

    def _ids(self) -> dict[str, str]:
        try:
            return dict(json.loads((self.folder / IDS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def _write_ids(self) -> None:
        ids = dict.fromkeys(self.names, "")
        for tracker in self.accelerator.trackers:
            if tracker.name == "wandb":
                ids["wandb"] = tracker.tracker.id
            elif tracker.name == "mlflow":
                ids["mlflow"] = tracker.tracker.info.run_id
        write_text(self.folder / IDS, json.dumps(ids) + "\n")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            plain = value is None or isinstance(value, bool | int | float | str)
            yield f"{prefix}{key}", value if plain else json.dumps(value)
