"""Run a study, gather its results into small files, and draw all it shows from those alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from zsrobust.data.published.prompts import prompts_of
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand, single
from zsrobust.demo.claim import find_claim, sentence
from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.checks.diagnostics import synthetic_sets
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.models.loading import load
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.reporting.figures.distance import distance_figure
from zsrobust.reporting.figures.style import save_figure, watermark
from zsrobust.reporting.figures.tradeoff import tradeoff_figure
from zsrobust.reporting.paper import REHEARSAL
from zsrobust.reporting.report import write_report
from zsrobust.reporting.tables import TextTable
from zsrobust.sweep.comparison import (
    Line,
    average_table,
    comparison_points,
    comparison_table,
    lines_of,
    seed_pairs,
    set_table,
)
from zsrobust.sweep.gather import gather
from zsrobust.sweep.jobs import Evaluation, Job, Training, work
from zsrobust.sweep.on_ray import Cluster, work_on_ray
from zsrobust.sweep.search import Scores, read_scores
from zsrobust.sweep.study import RESULTS, SCORES, Stage, Study, evaluated_before
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text
from zsrobust.utils.progress import Steps

TABLES = "tables.md"
COMPARISONS = "comparisons.json"
WITH_CURVES = "equal-steps"
"""The comparison whose runs are also shown while training."""
CURVES = "curves"
OF_A_RUN = ("config.yaml", "metrics.jsonl", "model/model.json")
"""What is saved of such a run: the request, the curves, the distance."""
REPORT = "report"
MOST_IN_A_FIGURE = 8
"""Systems that a figure of every set can tell apart."""


@dataclass(frozen=True)
class Shown:
    """A study as far as it went.

    Attributes:
        tables: the file of all tables.
        text: what is in it.
        figures: the files of every figure.
        missing: by comparison, how many models are not evaluated yet.
        report: the page of everything, once all runs are done.
    """

    tables: Path
    text: str
    figures: list[Path]
    missing: Mapping[str, int]
    report: Path | None = None


@dataclass(frozen=True)
class SavedComparison:
    """A comparison as it is saved.

    Attributes:
        reference: title of the system that the others are compared with.
        lines: the systems.
        claims: titles of those that are claimed to be better than the reference.
        averages: as in :class:`Study`.
    """

    reference: str
    lines: Sequence[Line]
    claims: Sequence[str]
    averages: Sequence[Averaged]

    @property
    def titles(self) -> dict[str, str]:
        """What each model's system is called."""
        return {model: line.title for line in self.lines for model in line.models}

    @property
    def main(self) -> Averaged | None:
        """The average that tables and figures show; None for the usual one."""
        return self.averages[0] if self.averages else None


def run_study(study: Study, cluster: Cluster | None = None) -> Shown:
    """Do what is left of it, and show what came out.

    Args:
        study: its runs.
        cluster: where they are done; None for this process, one after the other.

    Raises:
        RequestError: before any training, if a model or data set is not to be had, or a folder
            holds another run.
        RunError: if a run fails otherwise than by diverging.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    _check([*study.jobs(), *study.later_jobs()])
    say = Steps("", 1).say
    if cluster is None:
        work(study.jobs, say, study.later_jobs)
    else:
        work_on_ray(study.jobs, say, cluster, study.later_jobs)
    shown = show_study(study.out, study)
    saved = study.out / RESULTS
    folders = [saved / name for name in study.comparisons if (saved / name).is_dir()]
    folders += sorted((saved / CURVES).glob("*"))
    if not folders:
        return shown
    return replace(shown, report=write_report(folders, study.out / REPORT).page)


def save_results(study: Study) -> dict[str, int]:
    """Gather what the runs left so far; returns how many models each comparison lacks."""
    if not (study.out / "runs").is_dir():
        return {}
    saved = study.out / RESULTS
    study.search.save()
    stages = study.stages()
    missing = {name: _gather(stage, saved / name) for name, stage in stages.items()}
    comparisons: dict[str, dict[str, Any]] = {}
    for name, stage in stages.items():
        if (saved / name).is_dir():
            models = EvaluatedRun.read(saved / name).models
            lines = [asdict(line) for line in lines_of(stage.sweep, models, stage.titles)]
            comparisons[name] = {"reference": stage.reference, "lines": lines}
            if study.claims:
                comparisons[name]["claims"] = [study.systems[one].title for one in study.claims]
            if study.averages:
                comparisons[name]["averages"] = {one.name: one.plain for one in study.averages}
    if comparisons:
        write_text(saved / COMPARISONS, json.dumps(comparisons, indent=1) + "\n")
    if WITH_CURVES in stages:
        _save_runs(stages[WITH_CURVES], saved / CURVES)
    return missing


def show_study(out: Path, study: Study | None = None) -> Shown:
    """Tables and figures of the results in ``out``.

    Args:
        out: folder of a study.
        study: what it consists of, if what its runs left is to be saved first.

    Raises:
        RequestError: if there are none, or they are damaged.
    """
    saved = out / RESULTS
    missing = save_results(study) if study is not None else {}
    if not saved.is_dir():
        raise RequestError(f"{out} holds nothing to show yet: leave --show out")
    comparisons = read_comparisons(saved / COMPARISONS)
    evaluated = {name: EvaluatedRun.read(saved / name) for name in comparisons}
    rehearsed = any(synthetic_sets(run.results) for run in evaluated.values())
    tables: dict[str, TextTable] = {}
    if scores := read_scores(saved / SCORES):
        tables["learning rates"] = scores_table(list(scores.values()))
    claims: list[str] = []
    for name, about in comparisons.items():
        title = name.replace("-", " ")
        asked = evaluated[name], about.lines, about.reference
        tables[title] = comparison_table(*asked, about.main)
        if about.averages:
            tables[f"{title}, by average"] = average_table(*asked, about.averages)
            tables[f"{title}, by set"] = set_table(*asked)
        claims += [f"- {title}, {line}\n" for line in _claims(evaluated[name], about)]
    with watermark(REHEARSAL if rehearsed else ""):
        figures = _figures(out, comparisons, evaluated)
    parts = [f"## {title}\n\n{table.as_markdown()}" for title, table in tables.items()]
    if claims:
        parts.append(f"## claims\n\n{''.join(claims)}")
    if rehearsed:
        parts.insert(0, f"**{REHEARSAL.capitalize()}.** The images are synthetic.\n")
    text = "\n".join(parts)
    write_text(out / TABLES, text)
    return Shown(out / TABLES, text, figures, missing)


def _figures(
    out: Path, comparisons: Mapping[str, SavedComparison], evaluated: Mapping[str, EvaluatedRun]
) -> list[Path]:
    figures: list[Path] = []
    for name, about in comparisons.items():
        run, lines = evaluated[name], about.lines
        if sum(bool(line.budget) for line in lines) <= MOST_IN_A_FIGURE:
            figure = accuracy_figure(run.results, sets=about.main, titles=about.titles)
            figures += save_figure(figure, out / f"accuracy-{name}")
        figures += _planes(run, about, out / f"tradeoff-{name}")
    if WITH_CURVES in comparisons:
        lines = comparisons[WITH_CURVES].lines
        # Seed by seed: a method has the colour that it has in the other figures.
        names = [name for seed in zip_longest(*(line.models for line in lines)) for name in seed]
        curves = out / RESULTS / CURVES
        runs = [curves / name for name in names if name and (curves / name).is_dir()]
        if runs:
            figure = distance_figure(runs, titles=comparisons[WITH_CURVES].titles)
            figures += save_figure(figure, out / "distance")
    return figures


def _claims(run: EvaluatedRun, about: SavedComparison) -> list[str]:
    """Whether each system is better than the reference as claimed, a sentence for each attack."""
    lines = {line.title: line for line in about.lines}
    original = next((line for line in about.lines if not line.budget), None)
    reference = lines.get(about.reference)
    sentences = []
    for title in about.claims:
        system = lines.get(title)
        if original is None or reference is None or system is None:
            continue
        if not (pairs := seed_pairs(reference, system)):
            continue
        for attack in dict.fromkeys(row.condition for row in run.results.rows):
            claim = find_claim(run, attack, original.models[0], pairs, about.main)
            sentences.append(f"{title}: {sentence(claim)}")
    return sentences


def scores_table(systems: Sequence[tuple[str, Scores]]) -> TextTable:
    """A line a system: the score of every learning rate tried, the best one in bold.

    Args:
        systems: titles and scores.
    """
    rates = sorted({rate for _, found in systems for rate in found})
    cells = []
    for title, found in systems:
        if not found:
            continue
        best = max(sorted(found), key=lambda rate: found[rate])
        row = [title]
        for rate in rates:
            score = found.get(rate)
            text = "" if score is None else "diverged" if score < 0 else f"{100 * score:.1f}"
            row.append(f"**{text}**" if rate == best else text)
        cells.append(row)
    return TextTable(["model", *(f"{rate:g}" for rate in rates)], [cells])


def _check(jobs: Sequence[Job]) -> None:
    """Refuse a study whose model or data are missing, before anything is run.

    And one whose model cannot tell the classes of the data apart.
    """
    models = []
    for trained in [job.config for job in jobs if isinstance(job, Training)][:1]:
        models.append(load(trained.model))
        opening(single(trained.data), "train")()
    asked = {tuple(job.config.data): job.config for job in jobs if isinstance(job, Evaluation)}
    for evaluated in asked.values():
        for spec in expand(evaluated.data):
            images = opening(spec, "test")()
            for model in models:
                templates = prompts_of(images, evaluated.templates)
                model.check_classes(images.class_names, templates, images.name)


def _gather(stage: Stage, out: Path) -> int:
    """Merge what is evaluated; returns how many models are not."""
    wanted = stage.sweep.evaluated()
    before = evaluated_before(out, stage.sweep.evaluation)
    done = {
        model: folder if _is_complete(folder) else out
        for model, folder in wanted.items()
        if _is_complete(folder) or model in before
    }
    if len(done) > len(stage.sweep.originals()):
        gather(done, out)
    return len(wanted) - len(done)


def _is_complete(folder: Path) -> bool:
    return (folder / "results.json").is_file() and not (folder / "parts").exists()


def _save_runs(stage: Stage, out: Path) -> None:
    for run in (stage.sweep.training(*run).folder for run in stage.sweep.runs()):
        if not (run / "model").is_dir():
            continue
        for file in OF_A_RUN:
            target = out / run.name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, target)


def read_comparisons(path: Path) -> dict[str, SavedComparison]:
    """The comparisons that a study saved, by name; none if there is no file.

    Raises:
        RequestError: if it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return {
            name: SavedComparison(
                about["reference"],
                [Line(**line) for line in about["lines"]],
                about.get("claims", ()),
                [Averaged.of_plain(*one) for one in about.get("averages", {}).items()],
            )
            for name, about in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error}") from None


def _planes(run: EvaluatedRun, about: SavedComparison, stem: Path) -> list[Path]:
    """Clean against robust accuracy under each attack."""
    figures = []
    attacks = list(dict.fromkeys(row.condition for row in run.results.rows))
    for attack in attacks:
        place, points = comparison_points(run.results, attack, about.lines, about.main)
        figure = tradeoff_figure(points, condition=f"{attack}, {place.name}")
        name = stem.name if len(attacks) == 1 else f"{stem.name}-{attack.replace('/', '-')}"
        figures += save_figure(figure, stem.with_name(name))
    return figures
