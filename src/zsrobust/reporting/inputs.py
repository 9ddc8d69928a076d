"""What a report is made from: the run folders that were named, read once and checked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zsrobust.config.run_folder import CONFIG, require_folders
from zsrobust.evaluation.comparison.merge import (
    ModelResults,
    group_by_protocol,
    merge_results,
    split_by_model,
)
from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.gallery import Gallery
from zsrobust.evaluation.results import Results
from zsrobust.models.card import CARD, read_card
from zsrobust.reporting.figures.distance import Moved, read_moved
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import as_argument

RESULTS, GALLERY, DEMO = "results.json", "gallery.npz", "demo.json"
ENTRY, ENTRY_FORMAT = ".entry.json", 1
"""How the names of a leaderboard's entries end, and the format of their content."""
CURVES = ("total", "clean_acc", "adversarial_acc", "robust_acc")
"""What is drawn of the lines of ``metrics.jsonl``."""


@dataclass(frozen=True)
class EvaluationRun:
    """A run folder of ``evaluate``, or an entry of a leaderboard.

    Attributes:
        folder: where it lies, as it was named.
        results: what ``results.json`` holds.
        request: what ``config.yaml`` holds; empty where the file is not there.
        verified: of an entry, the bundle that it came in and what was asked of the model.
    """

    folder: Path
    results: Results
    request: dict[str, Any]
    verified: str = ""


@dataclass(frozen=True)
class TrainingRun:
    """A run folder of ``finetune``.

    Attributes:
        folder: where it lies, as it was named.
        card: what ``model.json`` holds.
        metrics: the lines of ``metrics.jsonl``.
        moved: its distance in parameter space.
        request: what ``config.yaml`` holds; empty where the file is not there.
    """

    folder: Path
    card: dict[str, Any]
    metrics: list[dict[str, Any]]
    moved: Moved
    request: dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """All that was found; each folder once, in the order in which it was named."""

    evaluations: list[EvaluationRun]
    trainings: list[TrainingRun]
    galleries: list[tuple[Path, Gallery]]


def read_inputs(folders: Sequence[Path]) -> Inputs:
    """Read run folders of ``evaluate``, ``finetune`` and ``demo``.

    Raises:
        RequestError: if one is none of these, is not finished, or is damaged.
    """
    require_folders(folders)
    found = Inputs([], [], [])
    done: set[Path] = set()
    for folder in folders:
        parts = _parts(folder) if (folder / DEMO).exists() else [folder]
        for part in parts:
            if part.resolve() not in done:
                done.add(part.resolve())
                _read(part, found)
    return found


def _parts(demo: Path) -> list[Path]:
    """The folders of a demonstration: itself, for its gallery, and those of its runs.

    Raises:
        RequestError: if it holds neither.
    """
    runs = [path.parent for path in sorted(demo.glob(f"*/{CONFIG}"))]
    own = [demo] if (demo / GALLERY).exists() else []
    if not own:
        raise RequestError(
            f"{demo} is a demonstration that has not finished; it resumes with: {_command(demo)}"
        )
    return [*own, *runs]


def _command(demo: Path) -> str:
    """What fills the folder of a demonstration, as its mark says."""
    try:
        return str(json.loads((demo / DEMO).read_text(encoding="utf-8"))["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return shlex.join(["zsrobust", "demo", "--out", as_argument(demo)])


def _read(folder: Path, found: Inputs) -> None:
    """Add what one folder holds to ``found``."""
    entries = read_entries(folder)
    found.evaluations.extend(entries)
    something = bool(entries)
    if (folder / RESULTS).exists():
        results = Results.read(folder / RESULTS)
        require_whole(folder / RESULTS, results)
        found.evaluations.append(EvaluationRun(folder, results, read_request(folder)))
        something = True
    if (folder / "model" / CARD).exists():
        moved = read_moved(folder)
        metrics = read_metrics(folder / "metrics.jsonl")
        _require_numbers(folder / "metrics.jsonl", metrics)
        card = read_card(folder / "model" / CARD)
        found.trainings.append(TrainingRun(folder, card, metrics, moved, read_request(folder)))
        something = True
    if (folder / GALLERY).exists():
        gallery = Gallery.read(folder / GALLERY)
        if gallery.items:
            found.galleries.append((folder, gallery))
        something = True
    if not something:
        if (folder / CONFIG).exists():
            raise RequestError(f"{folder} is a run that has not finished: run its command again")
        raise RequestError(
            f"{folder} is no run folder: it holds neither {RESULTS} (of evaluate) nor model/{CARD} "
            f"(of finetune) nor {DEMO} (of demo)"
        )


def read_entries(folder: Path) -> list[EvaluationRun]:
    """The entries of a leaderboard in ``folder``, by name; none where there are none.

    Raises:
        RequestError: if one is damaged, or of another format.
    """
    entries = []
    for path in sorted(folder.glob(f"*{ENTRY}")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["entry"] != ENTRY_FORMAT:
                raise RequestError(
                    f"{path} has format {content['entry']}: this reads {ENTRY_FORMAT}"
                )
            results, request = Results.of_plain(content["results"]), dict(content["request"])
            asked = content["rechecked"] or "the model was not asked again"
            verified = f"bundle {content['bundle'][:16]}; {asked}"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RequestError(f"{path} is damaged: {error}") from None
        require_whole(path, results)
        entries.append(EvaluationRun(path, results, request, verified))
    return entries


def read_request(folder: Path) -> dict[str, Any]:
    """What ``config.yaml`` of a run folder holds; empty where it is not there.

    Raises:
        RequestError: if it is damaged.
    """
    path = folder / CONFIG
    try:
        request = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RequestError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(request, dict):
        raise RequestError(f"{path} is damaged: it holds no request")
    return request


def require_whole(path: Path, results: Results) -> None:
    """Refuse results whose rows and protocol do not fit together.

    Raises:
        RequestError: with what is wrong.
    """
    if not results.rows:
        raise RequestError(f"{path} is damaged: it holds no results")
    try:
        for row in results.rows:
            about = results.protocol["models"][row.model]
            data = results.protocol["data"][row.dataset]
            strings = [row.model, row.dataset, row.attack, row.method, about["source"]]
            strings += [about["weights"], about["method"], data["origin"], data["split"]]
            settings = data[f"under {row.model}"]
            fits = all(isinstance(one, str) for one in strings) and isinstance(row.n, int)
            fits = fits and {"logit_scale", "preprocessing", "seen", "recipe"} <= about.keys()
            fits = fits and {"class_names", "skipped", "n"} <= data.keys()
            fits = fits and {"templates", "loader_resize"} <= settings.keys()
            accuracies = (row.clean_acc, row.robust_acc, *row.ci95_clean, *row.ci95_robust)
            if not (fits and row.n > 0 and all(0 <= one <= 1 for one in accuracies)):
                raise ValueError(f"the row of {row.model} on {row.dataset}")
            attack_of(results, row)
        for key in ("precision", "robust", "interval", "seed"):
            results.protocol[key]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestError(f"{path} is damaged: {error}") from None


def _require_numbers(path: Path, metrics: Sequence[dict[str, Any]]) -> None:
    """Refuse curves with a step or a value that is not a number.

    Raises:
        RequestError: if there is one.
    """
    for line in metrics:
        values = [line.get("step"), *(line[key] for key in CURVES if key in line)]
        if not all(isinstance(value, int | float) for value in values):
            raise RequestError(f"{path} is damaged: a line of it is no line of measurements")


@dataclass(frozen=True)
class Group:
    """Evaluations that are one in parts: the same sets and attacks, measured the same way.

    Attributes:
        runs: the evaluations.
        results: of all their models; findings and sanity reports are those of each run.
        parts: by model there, the evaluations that it is in.
        number: among several groups; 0 where there is one.
    """

    runs: list[EvaluationRun]
    results: Results
    parts: dict[str, list[ModelResults]]
    number: int

    @property
    def title(self) -> str:
        """Its heading, and what the verdict on it begins with where there are several."""
        if not self.number:
            return "Results"
        attacks = list(dict.fromkeys(row.condition for row in self.results.rows))
        sets = list(dict.fromkeys(row.dataset for row in self.results.rows))
        words = [
            attacks[0] if len(attacks) == 1 else f"{len(attacks)} attacks and radii",
            sets[0] if len(sets) == 1 else f"{len(sets)} sets",
        ]
        return f"Evaluation {self.number}: {', '.join(words)}"

    @property
    def prefix(self) -> str:
        """Of the names of its sections and files; empty where there is one group."""
        return f"evaluation-{self.number}-" if self.number else ""


def grouped(evaluations: Sequence[EvaluationRun]) -> list[Group]:
    """The evaluations in groups; what was measured differently is never in one."""
    named = [(str(run.folder), run.results) for run in evaluations]
    indices = group_by_protocol(named)
    groups = []
    for number, of in enumerate(indices, 1):
        runs = [evaluations[index] for index in of]
        parts = [part for index in of for part in split_by_model(*named[index])]
        groups.append(Group(runs, *merge_results(parts), number if len(indices) > 1 else 0))
    return groups
