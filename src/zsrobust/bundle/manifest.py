"""What a bundle says of itself: enough to see what it is of, without reading the results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Row


def describe(run: EvaluatedRun, request: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a run: models, threat models, attacks, data, environment and request.

    ``samples`` of a data set is the SHA-256 of its ids and labels, in order of the ids.
    """
    results = run.results
    models, data = results.protocol["models"], results.protocol["data"]
    first = {row.dataset: row for row in reversed(results.rows)}
    return {
        "models": {
            name: {key: about[key] for key in ("weights", "method", "source")}
            for name, about in models.items()
        },
        "threat_models": [
            {"norm": norm, "eps": eps}
            for norm, eps in dict.fromkeys((row.norm, row.eps) for row in results.rows)
        ],
        "attacks": results.protocol["attacks"],
        "data": {
            name: {
                "split": about["split"],
                "n": about["n"],
                "classes": len(about["class_names"]),
                "origin": about["origin"],
                "samples": _identity(run, first[name]) if name in first else "",
            }
            for name, about in data.items()
        },
        "environment": results.environment,
        "request": request,
    }


def _identity(run: EvaluatedRun, row: Row) -> str:
    found = run.columns(row)
    text = json.dumps([found["sample_id"], found["label"]])
    return hashlib.sha256(text.encode()).hexdigest()
