"""The sanity checks on every model and data set of an evaluation."""

from __future__ import annotations

from zsrobust.attacks import ThreatModel
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.batch import Batch
from zsrobust.data.split import keyed_order
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.findings import Finding
from zsrobust.evaluation.results import SanityReport
from zsrobust.evaluation.sanity import sanity
from zsrobust.utils.errors import RequestError
from zsrobust.utils.progress import Steps

SAMPLES = 100


def check_cells(cells: list[Cell], config: EvaluateConfig) -> list[SanityReport]:
    """One report a cell, at the first radius above 0."""
    eps = next(eps for eps in config.eps if eps > 0)
    reports = []
    with Steps("sanity checks", len(cells)) as progress:
        for cell in cells:
            reports.append(_check(cell, ThreatModel(config.norm, float(eps)), config.seed))
            progress.advance()
    return reports


def _check(cell: Cell, threat: ThreatModel, seed: int) -> SanityReport:
    batch = _right(cell, seed)
    findings: list[Finding] = []
    refused = ""
    try:
        findings = sanity(
            cell.measurement.classifier,
            batch.images,
            batch.labels,
            batch.sample_ids,
            threat,
            seed=seed,
        )
    except RequestError as error:
        refused = str(error)
    return SanityReport(
        model=cell.model.name,
        dataset=cell.images.name,
        norm=threat.norm,
        eps=threat.eps,
        n=len(batch),
        findings=findings,
        refused=refused,
    )


def _right(cell: Cell, seed: int) -> Batch:
    """Up to a hundred samples that the model has right, drawn by seed."""
    drawn = keyed_order(cell.images.sample_ids, seed, "sanity")
    right: list[int] = []
    for at in range(0, len(drawn), SAMPLES):
        some = drawn[at : at + SAMPLES]
        stands = cell.measurement.clean(some).right
        right += [index for index, standing in zip(some, stands, strict=True) if standing]
        if len(right) >= SAMPLES:
            break
    # With nothing right the checks say so themselves; they need some images to say it of.
    return next(cell.measurement.batches(right[:SAMPLES] or drawn[:1], SAMPLES))
