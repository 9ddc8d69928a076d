"""The sanity checks on every model and data set of an evaluation."""

from __future__ import annotations

import torch

from zsrobust.attacks import ThreatModel
from zsrobust.config import EvaluateConfig
from zsrobust.data.split import keyed_order
from zsrobust.errors import RequestError
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.results import SanityReport
from zsrobust.evaluation.sanity import sanity
from zsrobust.progress import Steps

SAMPLES = 100


def check_cells(cells: list[Cell], config: EvaluateConfig) -> list[SanityReport]:
    """One report a cell, at the first radius above 0, on up to a hundred samples drawn by seed."""
    eps = next((eps for eps in config.eps if eps > 0), None)
    if eps is None:
        raise RequestError("sanity needs an eps above 0: the checks attack")
    reports = []
    with Steps("sanity checks", len(cells)) as progress:
        for cell in cells:
            reports.append(_check(cell, ThreatModel(config.norm, float(eps)), config.seed))
            progress.advance()
    return reports


def _check(cell: Cell, threat: ThreatModel, seed: int) -> SanityReport:
    drawn = keyed_order(cell.images.sample_ids, seed, "sanity")[:SAMPLES]
    batches = list(cell.measurement.batches(drawn, SAMPLES))
    images = torch.cat([batch.images for batch in batches])
    labels = torch.cat([batch.labels for batch in batches])
    ids = [name for batch in batches for name in batch.sample_ids]
    findings, refused = [], ""
    try:
        findings = sanity(cell.measurement.classifier, images, labels, ids, threat, seed=seed)
    except RequestError as error:
        refused = str(error)
    return SanityReport(
        model=cell.model.name,
        dataset=cell.images.name,
        norm=threat.norm,
        eps=threat.eps,
        n=len(ids),
        findings=findings,
        refused=refused,
    )
