"""Compute what cells lack, in one process or several, and put the rows together."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator

from zsrobust.attacks import Attack
from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.checks.black_box import probe_cell, probe_passes
from zsrobust.evaluation.checks.diagnostics import lengths_fit
from zsrobust.evaluation.defences import DefenceRow, Seen, summarise
from zsrobust.evaluation.outcomes import Outcomes, table
from zsrobust.evaluation.probes import BlackBoxProbe
from zsrobust.evaluation.progress import EvaluationProgress
from zsrobust.evaluation.results import Results, Row, failed
from zsrobust.evaluation.two_phase.run import Process, foresee, run_in_two_phases
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.files import atomic_file


def compute_chunks(cells: list[Cell], probing: Probing, accelerator: Accelerator) -> None:
    """Each of several processes computes its chunks; the files they leave are then put together."""
    rank, world_size = accelerator.process_index, accelerator.num_processes
    if world_size == 1:
        return
    mine = assign_chunks(cells, world_size)[rank]
    title = f"evaluating, 1 of {world_size} processes"
    with EvaluationProgress(title, quiet=rank > 0) as progress:
        for cell in cells:
            cell.expect(progress, [at for one, at in mine if one is cell])
        probing.expect(progress, cells[rank::world_size])
        foresee(cells, probing.config, progress, world_size)
        for cell, at in mine:
            cell.clean_chunk(at, progress)
        for cell, at in mine:
            for attack in cell.attacks:
                cell.attacked_chunk(cell.on_all(attack), at, progress)
        accelerator.wait_for_everyone()
        process = Process(rank, world_size, accelerator.wait_for_everyone)
        run_in_two_phases(cells, probing.config, progress, process)
        for cell in cells[rank::world_size]:
            probing.of(cell, progress)
        accelerator.wait_for_everyone()


def assign_chunks(cells: Sequence[Cell], world_size: int) -> list[list[tuple[Cell, range]]]:
    """All chunks of all cells, by process, so that each has about as much work.

    The largest first, each to the process that has least; work is counted in samples and attacks.
    """
    assigned: list[list[tuple[Cell, range]]] = [[] for _ in range(world_size)]
    loads = [(0, rank) for rank in range(world_size)]
    pieces = [(len(at) * (1 + len(cell.attacks)), cell, at) for cell in cells for at in cell.chunks]
    for work, cell, at in sorted(pieces, key=lambda piece: -piece[0]):
        load, rank = heapq.heappop(loads)
        assigned[rank].append((cell, at))
        heapq.heappush(loads, (load + work, rank))
    return assigned


def compute_rows(cells: list[Cell], results: Results, probing: Probing, folder: Path) -> Results:
    """``results`` with the rows of all cells; outcomes are written to ``folder``."""
    rows: dict[tuple[int, int], tuple[Row, pa.Table]] = {}
    with EvaluationProgress("evaluating", quiet=False) as progress:
        for finding in failed(lengths_fit(results)):
            progress.say(f"warning: {finding.sentence}")
        for cell in cells:
            cell.expect(progress, cell.chunks)
        probing.expect(progress, cells)
        # All clean first: how many samples will be attacked says most about the time left.
        foresee(cells, probing.config, progress)
        for cell in cells:
            cell.clean(progress)
        for number, cell in enumerate(cells):
            foresee(cells, probing.config, progress)
            clean = cell.clean()
            zero = cell.measurement.zero_gradients(clean, cell.attacks)
            found = [(one, cell.attacked(cell.on_all(one), progress)) for one in cell.attacks]
            for place, (attack, after) in enumerate(found):
                if attack != cell.on_all(attack):
                    continue  # Only its first part has run so far.
                # A part that was also run alone may have fallen upon more: the worst counts.
                parts = {part.name for part in getattr(attack, "parts", ())}
                for other, alone in found:
                    if other.name in parts and other.threat == attack.threat:
                        after = after.worst_with(alone)
                row = cell.row(attack, clean, after, zero)
                rows[number, place] = row, table(row, clean, after)
                progress.say(row.sentence())
            if any(one.model.defence for one in cells):
                results.defences.extend(_defence_rows(cell, clean, found))
        sampled = run_in_two_phases(cells, probing.config, progress)
        for (number, place), part in sampled.items():
            cell = cells[number]
            clean = cell.clean()
            zero = cell.measurement.zero_gradients(clean, cell.attacks)
            row = part.row(cell.row(cell.attacks[place], clean, part.after, zero))
            rows[number, place] = row, table(row, clean, part.after, part.draw)
            progress.say(row.sentence())
        results.probes.extend(
            probe for cell in cells if (probe := probing.of(cell, progress)) is not None
        )
        models, sets = ({row.model for row, _ in rows.values()}, {c.images.name for c in cells})
        progress.title = f"evaluated {len(models)} models on {len(sets)} data sets"
        progress.count, progress.figures = "", ()
    results.rows.extend(row for _, (row, _) in sorted(rows.items()))
    tables = [outcomes for _, (_, outcomes) in sorted(rows.items())]
    with atomic_file(folder / "outcomes.parquet") as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    return results


def _defence_rows(
    cell: Cell, clean: Outcomes, found: Sequence[tuple[Attack, Outcomes]]
) -> Iterator[DefenceRow]:
    """A row a radius, under all its attacks; none where only a part of the samples met some."""
    if cell.two_phase is not None:
        return
    for threat in dict.fromkeys(attack.threat for attack, _ in found):
        seen = {}
        for attack, after in found:
            if attack.threat == threat:
                shares = cell.drawn(attack).of(clean.sample_ids) if cell.draws else None
                right = np.array(after.right)
                seen[attack.name] = Seen(cell.meets_defence(attack), right, shares)
        yield summarise(
            np.array(clean.right),
            seen,
            cell.drawn(None).of(clean.sample_ids)[1] if cell.draws else None,
            model=cell.model.name,
            dataset=cell.images.name,
            norm=threat.norm,
            eps=float(threat.eps),
            draws=cell.draws,
        )


@dataclass(frozen=True)
class Probing:
    """Black-box probes of cells, with images made on each model's original and undefended form.

    An original that is not evaluated as well is loaded where a probe asks for it.
    """

    config: EvaluateConfig
    models: list[CLIPModel]
    device: torch.device
    loaded: dict[tuple[str, str], CLIPModel] = field(default_factory=dict)

    def expect(self, progress: EvaluationProgress, cells: Sequence[Cell]) -> None:
        """Say that these cells are to be probed."""
        for cell in cells:
            progress.forecast.checks[id(cell)] = cell.model.name, probe_passes(len(cell.images))

    def of(self, cell: Cell, progress: EvaluationProgress) -> BlackBoxProbe | None:
        """The probe of one model on one data set, None where there is nothing to probe."""
        with progress.check(id(cell)):
            return self._probed(cell)

    def _probed(self, cell: Cell) -> BlackBoxProbe | None:
        model, surrogates = cell.model, {}
        if model.defence:
            model = model.defence.undefended
            surrogates[model.name] = partial(self._classifier, lambda: model, cell)
        if model.method != "original":
            surrogates[model.source] = partial(
                self._classifier, lambda: self._original(model), cell
            )
        return probe_cell(cell, surrogates, self.config.seed)

    def _classifier(self, origin: Callable[[], CLIPModel], cell: Cell) -> ZeroShotClassifier:
        names, templates = cell.images.class_names, cell.measurement.classifier.templates
        return origin().classifier(names, templates).eval().to(self.device)

    def _original(self, model: CLIPModel) -> CLIPModel:
        for known in self.models:
            if known.source == model.source and same_protocol(known, model):
                return known
        key = model.source, model.preprocessing.protocol
        if key not in self.loaded:
            self.loaded[key] = load(model.source, preprocessing=key[1], device=self.device)
        return self.loaded[key]


def same_protocol(known: CLIPModel, original: CLIPModel) -> bool:
    """Whether ``known`` is that original, unchanged, and sees images and names as it does."""
    return known.method == "original" and sees_alike(known, original)


def sees_alike(known: CLIPModel, other: CLIPModel) -> bool:
    """Whether both see images and names in one way."""
    return (
        all(
            getattr(known, key) == getattr(other, key)
            for key in ("loader_resize", "default_templates")
        )
        and known.preprocessing.protocol == other.preprocessing.protocol
    )
