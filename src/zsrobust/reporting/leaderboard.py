"""``zsrobust leaderboard``: one page that ranks models, ours and published ones apart.

A board is a table whose rows may be ranked: all were measured the same way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean

from zsrobust.evaluation.checks.collapse import collapse_warnings, collapsed_models
from zsrobust.evaluation.checks.row_groups import is_noise
from zsrobust.evaluation.comparison.merge import ModelResults, merge_results, split_by_model
from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.comparison.published import Published, load_published
from zsrobust.evaluation.results import Results, Row, failed
from zsrobust.reporting.commands import command_after, evaluate_command
from zsrobust.reporting.figures.series import Place, Point, Series, accuracy_series, main_average
from zsrobust.reporting.html.page import LEADERBOARD, rendered, require_ours
from zsrobust.reporting.html.sections.protocol import (
    describe_attack,
    describe_defence,
    describe_preprocessing,
)
from zsrobust.reporting.inputs import EvaluationRun, read_inputs
from zsrobust.reporting.names import templates_title
from zsrobust.reporting.tables import TextTable, sampling_notes
from zsrobust.reporting.verdict import verdict
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text

Pair = tuple[float, float]
NO_INTERVAL = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Entry:
    """A row of a board; accuracies in [0, 1].

    Attributes:
        name: the model's or method's.
        base: what it was made from: the original model, or a paper's backbone.
        clean, robust: by average, such as ``average of 5 unseen``.
        by_set: robust and clean accuracy by data set; None where it was not measured.
        details: the protocol, as (word, value) lines.
        models: names of the models, where they are others than ``name``.
        ranked: whether it has a rank; one that has collapsed has none, and none has under noise.
    """

    name: str
    base: str
    clean: dict[str, Point]
    robust: dict[str, Point]
    by_set: dict[str, Pair | None]
    details: list[tuple[str, str]]
    models: tuple[str, ...] = ()
    ranked: bool = True


@dataclass(frozen=True)
class Board:
    """Rows that were measured the same way, the most robust first.

    Attributes:
        attack: attack and radius.
        averages: over the sets that all rows have; ranked is by the first.
        common: those sets.
        sets: all sets that a row has.
        protocol: in a sentence, what all rows share.
        entries: the rows.
        verdict: whether the first row's lead is significant; empty for printed rows.
    """

    attack: str
    averages: list[str]
    common: list[str]
    sets: list[str]
    protocol: str
    entries: list[Entry]
    verdict: str = ""

    @property
    def title(self) -> str:
        """Attack and sets."""
        sets = self.common[0] if len(self.common) == 1 else f"{len(self.common)} sets"
        return f"{self.attack}, {sets}"

    @property
    def every_set(self) -> TextTable:
        """Robust and clean accuracy of every row on every set; the fewer of both are columns."""
        names = [entry.name for entry in self.entries]
        cells = [[_percent(entry.by_set[one]) for one in self.sets] for entry in self.entries]
        if len(names) > len(self.sets):
            rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
            return TextTable(["model", *self.sets], [rows])
        by_set = zip(self.sets, *cells, strict=True)
        return TextTable(["data set", *names], [[list(row) for row in by_set]])

    def rank(self, entry: Entry) -> int | None:
        """1 for the most robust; equals share a rank; None without one."""
        ours = entry.robust[self.averages[0]].accuracy
        above = (one.robust[self.averages[0]].accuracy > ours for one in self.entries if one.ranked)
        return 1 + sum(above) if entry.ranked else None


def our_boards(runs: Sequence[EvaluationRun]) -> list[Board]:
    """A board or more for each attack and radius, those first under which models keep least.

    A model joins a board if it was measured as all its models were on every set in common, and
    shares at least half of the sets that they have in common: so a model on one set alone does not
    shrink what the others are ranked by. Models on most sets come first.
    """
    by_attack: dict[str, list[ModelResults]] = {}
    for run in runs:
        for model in split_by_model(str(run.folder), run.results):
            for condition in dict.fromkeys(row.condition for row in model.rows):
                rows = tuple(row for row in model.rows if row.condition == condition)
                by_attack.setdefault(condition, []).append(replace(model, rows=rows))
    requests = {str(run.folder): run for run in runs}
    boards = []
    for parts in sorted(by_attack.values(), key=_place):
        groups: list[list[ModelResults]] = []
        for part in sorted(parts, key=lambda part: -len(part.rows)):
            group = next((one for one in groups if _fits(part, one)), None)
            if group is None:
                groups.append(group := [])
            group.append(part)
        boards += [_board(group, requests) for group in groups]
    return boards


def _place(parts: Sequence[ModelResults]) -> tuple[bool, float]:
    """As ``strongest`` chooses the attack of a report; noise, a baseline, comes last."""
    rows = [row for part in parts for row in part.rows]
    return is_noise(rows[0]), fmean(row.robust_acc for row in rows)


def _fits(part: ModelResults, group: Sequence[ModelResults]) -> bool:
    common = _common(group)
    return 2 * len(common & part.places.keys()) >= len(common) and all(
        part.is_comparable(other) for other in group
    )


def _common(group: Sequence[ModelResults]) -> set[tuple[str, str, str]]:
    return set.intersection(*(set(part.places) for part in group))


def _board(group: Sequence[ModelResults], runs: dict[str, EvaluationRun]) -> Board:
    results, parts = merge_results(group)
    condition = results.rows[0].condition
    of_models = [{row.dataset for row in results.rows if row.model == model} for model in parts]
    in_common = set.intersection(*of_models)
    rows = [row for row in results.rows if row.dataset in in_common]
    compared = replace(results, rows=rows)
    places, series = accuracy_series(compared, condition)
    sets = list(dict.fromkeys(row.dataset for row in results.rows))
    averages = _averages(places)
    noise, collapsed = is_noise(rows[0]), collapsed_models(compared)
    entries = [
        Entry(
            name=one.legend if all(r.adaptive for r in _of(results, one)) else f"{one.legend} †",
            base=results.protocol["models"][one.models[0]]["source"],
            clean={name: one.clean[name] for name in averages},
            robust={name: one.robust[name] for name in averages},
            by_set={dataset: _on(results, one, dataset) for dataset in sets},
            details=list(_details([part for model in one.models for part in parts[model]], runs)),
            models=tuple(model for model in one.models if model != one.legend),
            ranked=not noise and collapsed.isdisjoint(one.models),
        )
        for one in series
    ]
    entries.sort(key=lambda entry: (not entry.ranked, -entry.robust[averages[0]].accuracy))
    first = group[0]
    attack = attack_of(first.results, first.rows[0])
    sampled = any(row.sampling for row in results.rows)
    return Board(
        attack=condition,
        averages=averages,
        common=[dataset for dataset in sets if dataset in in_common],
        sets=sets,
        protocol=f"{attack['name']}: {describe_attack(attack)}; "
        f"precision {first.results.protocol['precision']}; a sample counts as robust if it is "
        f"{first.results.protocol['robust']}"
        + ("; ‡ two-phase estimates, counted in each protocol" if sampled else ""),
        entries=entries,
        verdict="" if noise else verdict(compared, parts, condition),
    )


def _averages(places: Sequence[Place]) -> list[str]:
    """The one that is ranked by, then the other where it differs."""
    main = main_average(places)
    return [main.name, *(one.name for one in places if one.average and one != main)]


def _of(results: Results, one: Series) -> list[Row]:
    return [row for row in results.rows if row.model in one.models]


def _on(results: Results, one: Series, dataset: str) -> Pair | None:
    """Mean robust and clean accuracy over seeds, where all have that set."""
    rows = [row for row in _of(results, one) if row.dataset == dataset]
    if len(rows) < len(one.models):
        return None
    robust, clean = (sum(getattr(r, f"{k}_acc") for r in rows) for k in ("robust", "clean"))
    return robust / len(rows), clean / len(rows)


def _details(
    parts: Sequence[ModelResults], runs: dict[str, EvaluationRun]
) -> Iterator[tuple[str, str]]:
    """The protocol of one row, a model and evaluation after the other."""
    for part in parts:
        about = part.results.protocol["models"][part.model]
        data = part.results.protocol["data"]
        run = runs[part.run]
        settings = [data[row.dataset][f"under {part.model}"] for row in part.rows]
        yield "model", f"{part.model}, evaluated in {part.run}"
        yield "method", about["method"]
        if about.get("unfinished"):
            yield "fine-tuning", str(about["unfinished"])
        yield "made from", about["source"]
        yield "seen in training", ", ".join(map(str, about["seen"])) or "-"
        yield "weights, recipe", f"{about['weights']}, {about['recipe'] or '-'}"
        yield "logit scale", f"{about['logit_scale']:.6g}"
        if defence := describe_defence(about):
            yield "defence at test time", defence
        for note in sampling_notes(replace(part.results, rows=list(part.rows))):
            yield "estimate", note
        if not all(row.adaptive for row in part.rows):
            yield "† not adaptive", "the attacked images were made without that defence"
        yield "preprocessing", describe_preprocessing(about["preprocessing"])
        resizes = dict.fromkeys(str(one["loader_resize"]) for one in settings)
        yield "loader's resize", " / ".join(resizes)
        prompts = dict.fromkeys(templates_title(one["templates"]) for one in settings)
        yield "prompts", " / ".join(prompts)
        sets = (f"{row.dataset} {row.split} n {row.n} at {row.resolution} px" for row in part.rows)
        yield "sets", ", ".join(sets)
        attacks = (describe_attack(attack_of(part.results, row)) for row in part.rows)
        yield "attack", " / ".join(dict.fromkeys(attacks))
        failures = (finding.sentence for finding in failed(part.results.findings))
        of_model = [sentence for sentence in failures if sentence.startswith(part.model)]
        for line in dict.fromkeys([*collapse_warnings(part.results, [part.model]), *of_model]):
            yield "warning", line
        if run.verified:
            yield "verified from", run.verified
        yield "seed of the evaluation", str(part.results.protocol["seed"])
        yield "versions", ", ".join(f"{k} {v}" for k, v in part.results.environment.items())
        if run.request:
            yield "command", evaluate_command(run.request, part.rows)


def published_boards() -> list[Board]:
    """The printed rows, a board for every paper, attack and way of measuring."""
    rows = load_published()
    clean = {_model(row): row for row in rows if row.metric == "clean"}
    robust = sorted((row for row in rows if row.metric == "robust"), key=_measured)
    groups = (list(group) for _, group in groupby(robust, key=_measured))
    return [_printed([(row, clean.get(_model(row))) for row in group]) for group in groups]


def _model(row: Published) -> tuple[str, ...]:
    return _paper(row), row.finetuned_on, row.backbone, row.method


def _measured(row: Published) -> tuple[str, ...]:
    attack = (row.attack, row.eps_255, row.attack_as_released, row.logit_scale, row.precision)
    return (_paper(row), *attack, row.n, row.finetuned_on, row.backbone)


def _radius(printed: str) -> str:
    """``1/255``, or ``mean of 1/255, 2/255, 4/255`` for ``mean(1;2;4)``."""
    radii = ", ".join(f"{levels}/255" for levels in re.findall(r"[\d.]+", printed))
    return f"mean of {radii}" if printed.startswith("mean") else radii


def _paper(row: Published) -> str:
    return row.source.partition(" table")[0]


def _printed(rows: Sequence[tuple[Published, Published | None]]) -> Board:
    sets = list(dict.fromkeys(name for row, _ in rows for name in row.accuracies))
    every = [row.accuracies for row, _ in rows] + [row.accuracies for _, row in rows if row]
    common = [name for name in sets if all(name in one for one in every)]
    if not common:
        raise RequestError(f"published rows of {rows[0][0].source} have no set in common")
    average = f"average of {len(common)} printed"
    entries = []
    for row, clean in rows:
        mean = sum(row.accuracies[name] for name in common) / len(common)
        before = {}
        if clean:
            total = sum(clean.accuracies[name] for name in common)
            before = {average: Point(total / len(common), NO_INTERVAL)}
        details = [("source", row.source), ("attack as released", row.attack_as_released)]
        details += [("fine-tuned on", "nothing" if row.method == "CLIP" else row.finetuned_on)]
        details += [("logit scale", row.logit_scale), ("precision", row.precision), ("n", row.n)]
        details += [("note", one.note) for one in (row, clean) if one and one.note]
        by_set: dict[str, Pair | None] = {
            name: (row.accuracies[name], clean.accuracies[name] if clean else float("nan"))
            if name in row.accuracies
            else None
            for name in sets
        }
        robust = {average: Point(mean, NO_INTERVAL)}
        entries.append(Entry(row.method, row.backbone, before, robust, by_set, details))
    entries.sort(key=lambda entry: -entry.robust[average].accuracy)
    first = rows[0][0]
    return Board(
        attack=f"{first.attack} {_radius(first.eps_255)}",
        averages=[average],
        common=common,
        sets=sets,
        protocol=f"{_paper(first)}: {first.attack_as_released}; {first.precision}; {first.n}; "
        f"{first.backbone}, fine-tuned on {first.finetuned_on}",
        entries=entries,
    )


@dataclass(frozen=True)
class Ranked:
    """A leaderboard on disk.

    Attributes:
        page: the HTML file.
        ours, published: its boards.
    """

    page: Path
    ours: list[Board]
    published: list[Board]


def write_leaderboard(folders: Sequence[Path], out: Path) -> Ranked:
    """Write the page ``out`` on the evaluations in ``folders``; nothing else is read.

    Args:
        folders: run folders of ``evaluate`` or ``demo``.
        out: a file; an earlier leaderboard is replaced.

    Raises:
        RequestError: before anything is written, if a folder holds no finished evaluation or is
            damaged, or if ``out`` is there and is no leaderboard.
    """
    if out.is_dir():
        raise RequestError(f"out {out} is a folder: name a file")
    require_ours(out, LEADERBOARD)
    for folder in folders:
        found = read_inputs([folder])
        if not found.evaluations:
            requests = [one.request for one in found.trainings if "data" in one.request]
            makes = [command_after(request, folder) for request in requests]
            raise RequestError(
                f"{folder} holds no evaluation, and it is evaluations that are ranked"
                + "".join(f": {command} makes one" for command in makes)
            )
    ranked = Ranked(out, our_boards(read_inputs(folders).evaluations), published_boards())
    text = rendered(
        LEADERBOARD,
        title="Leaderboard of zero-shot robustness",
        # Every further board has its own below its heading.
        verdicts=[board.verdict for board in ranked.ours[:1] if board.verdict],
        lead=[],
        foot=[
            "Accuracy in per cent, from results files alone. Only rows that were measured the same "
            "way are in one table, and ranks hold within a table alone. Rows are ranked by their "
            "average robust accuracy over the sets that all rows of the table have in common. A "
            "rank by itself is no proof: zsrobust compare tests two models on the same samples. "
            "Models that have collapsed on most sets are not ranked, nor is noise, a baseline."
        ],
        ours=ranked.ours,
        published=ranked.published,
        figure=_figure,
    )
    try:
        write_text(out, text)
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    return ranked


def _figure(point: Point | None) -> str:
    """In per cent with its interval, where there is one."""
    if point is None:
        return "-"
    return f"{100 * point.accuracy:.1f}" if math.isnan(point.interval[0]) else point.in_per_cent()


def _percent(pair: tuple[float, float] | None) -> str:
    """Robust and clean accuracy of a set."""
    if pair is None:
        return "-"
    return " / ".join("-" if math.isnan(value) else f"{100 * value:.1f}" for value in pair)
