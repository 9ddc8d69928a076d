"""Merge evaluations with the same protocol into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zsrobust.evaluation.comparison.protocol import same_protocol
from zsrobust.evaluation.defences import DefenceRow
from zsrobust.evaluation.probes import BlackBoxProbe
from zsrobust.evaluation.results import Results, Row

Place = tuple[str, str, str]


@dataclass(frozen=True)
class ModelResults:
    """One model of one evaluation.

    Attributes:
        run: the evaluation's name; shown with the model's where two models have one name.
        results: of the evaluation.
        model: its name there.
        rows: its rows there, all or those that matter.
    """

    run: str
    results: Results
    model: str
    rows: tuple[Row, ...]

    @property
    def places(self) -> dict[Place, Row]:
        """The rows by data set, split, and attack with its radius."""
        return {(row.dataset, row.split, row.condition): row for row in self.rows}

    def is_same(self, other: ModelResults) -> bool:
        """Whether both are one model: the same weights, settings and prompts, by any name."""
        mine, theirs = (one.results.protocol["models"][one.model] for one in (self, other))
        return bool(mine == theirs) and all(
            self._prompts(dataset) == other._prompts(dataset)
            for dataset in {row.dataset for row in self.rows} & {row.dataset for row in other.rows}
        )

    def is_comparable(self, other: ModelResults) -> bool:
        """Whether they have a place in common, and were measured the same way wherever they do."""
        here, there = self.places, other.places
        common = here.keys() & there.keys()
        return bool(common) and all(
            same_protocol(self.results, here[place], other.results, there[place])
            for place in common
        )

    def _prompts(self, dataset: str) -> Any:
        return self.results.protocol["data"][dataset][f"under {self.model}"]["templates"]


def split_by_model(run: str, results: Results) -> Iterator[ModelResults]:
    """Every model of an evaluation, in the order of its rows."""
    for model in dict.fromkeys(row.model for row in results.rows):
        rows = tuple(row for row in results.rows if row.model == model)
        yield ModelResults(run, results, model, rows)


def group_by_protocol(runs: Sequence[tuple[str, Results]]) -> list[list[int]]:
    """Indices of ``runs`` in groups of the same sets, attacks and protocol, as one run a seed."""
    groups: list[list[int]] = []
    parts = [list(split_by_model(*run)) for run in runs]
    for index, models in enumerate(parts):
        for group in groups:
            firsts = parts[group[0]]
            if all(_same_places(one, other) for one in models for other in firsts):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def _same_places(one: ModelResults, other: ModelResults) -> bool:
    return one.places.keys() == other.places.keys() and one.is_comparable(other)


def merge_results(parts: Sequence[ModelResults]) -> tuple[Results, dict[str, list[ModelResults]]]:
    """One ``Results`` of pairwise comparable models, and by name there what each is made of.

    A model that several evaluations hold, as an original, is in it once, and what was measured
    first counts. Different models of one name get their evaluation's name in addition. Findings and
    sanity reports stay with the evaluations.
    """
    together: list[list[ModelResults]] = []
    for part in parts:
        same = next((found for found in together if found[0].is_same(part)), None)
        if same is None:
            together.append([part])
        else:
            same.append(part)
    many = [found[0].model for found in together]
    models: dict[str, Any] = {}
    data: dict[str, Any] = {}
    rows: list[Row] = []
    probes: list[BlackBoxProbe] = []
    defences: list[DefenceRow] = []
    of: dict[str, list[ModelResults]] = {}
    for found in together:
        first = found[0]
        clash = many.count(first.model) > 1
        name = _free(f"{first.model} ({first.run})" if clash else first.model, models)
        of[name] = found
        models[name] = first.results.protocol["models"][first.model]
        places: dict[Place, Row] = {}
        for part in found:
            for place, row in part.places.items():
                places.setdefault(place, row)
            for dataset in {row.dataset: None for row in part.rows}:
                described = part.results.protocol["data"][dataset]
                about = {k: v for k, v in described.items() if not k.startswith("under ")}
                data.setdefault(dataset, about)
                data[dataset].setdefault(f"under {name}", described[f"under {part.model}"])
        rows += [replace(row, model=name) for row in places.values()]
        of_model = [probe for probe in first.results.probes if probe.model == first.model]
        probes += [replace(probe, model=name) for probe in of_model]
        for part in found:
            of_part = [row for row in part.results.defences if row.model == part.model]
            defences += [replace(row, model=name) for row in of_part]
    attacks: list[Any] = []
    for part in parts:
        attacks += [one for one in part.results.protocol["attacks"] if one not in attacks]
    first_of_all = parts[0].results
    protocol = {**first_of_all.protocol, "attacks": attacks, "models": models, "data": data}
    environment = first_of_all.environment
    return Results(protocol, environment, rows, probes=probes, defences=defences), of


def _free(name: str, taken: dict[str, Any]) -> str:
    """``name``, with a number where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} {number}"
    return free
