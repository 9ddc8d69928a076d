"""Merge evaluations of one model each into one evaluation of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.comparison.merge import ModelResults, merge_results
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Results
from zsrobust.utils.files import atomic_file

# What a comparison needs; losses and margins stay in the evaluations.
COLUMNS = (
    *("model", "dataset", "split", "attack", "eps", "key", "sample_id", "label"),
    *("clean_prediction", "adversarial_prediction", "fell_to"),
    *("stratum", "drawn_parts"),
)


def gather(evaluations: Mapping[str, Path], out: Path) -> EvaluatedRun:
    """Write ``results.json`` and ``outcomes.parquet`` of all models to ``out``.

    Args:
        evaluations: folder of each model's evaluation, by the model's new name; the folder holds
            one model, or one of that name.
        out: folder, created if needed.

    Raises:
        RequestError: if an evaluation is missing or damaged.
    """
    parts, tables = [], []
    runs: dict[Path, EvaluatedRun] = {}
    for name, folder in evaluations.items():
        run = runs[folder] = runs.get(folder) or EvaluatedRun.read(folder)
        model = name if name in run.models else run.models[0]
        results = _renamed(run.results, model, name)
        rows = tuple(row for row in results.rows if row.model == name)
        parts.append(ModelResults(name, results, name, rows))
        table = run.outcomes.select(COLUMNS).filter(pc.field("model") == model)
        names = pa.array([name] * len(table))
        tables.append(table.set_column(COLUMNS.index("model"), "model", names))
    results, _ = merge_results(parts)
    results = replace(results, findings=diagnose(results))
    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(out / "outcomes.parquet") as temporary:
        pq.write_table(pa.concat_tables(tables), temporary, compression="zstd")
    results.write(out / "results.json")
    return EvaluatedRun.read(out)


def _renamed(results: Results, model: str, name: str) -> Results:
    def keys(found: dict[str, Any]) -> dict[str, Any]:
        new = {model: name, f"under {model}": f"under {name}"}
        return {new.get(key, key): value for key, value in found.items()}

    protocol = dict(results.protocol)
    protocol["models"] = keys(protocol["models"])
    protocol["data"] = {dataset: keys(about) for dataset, about in protocol["data"].items()}
    rows = [replace(row, model=name) if row.model == model else row for row in results.rows]
    probes = [
        replace(probe, model=name) if probe.model == model else probe for probe in results.probes
    ]
    return replace(results, protocol=protocol, rows=rows, probes=probes)
