"""What the small files of an earlier replication already answer."""

from __future__ import annotations

from pathlib import Path

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.results import Results
from zsrobust.utils.errors import RequestError


def evaluated_before(folder: Path, asked: EvaluateConfig) -> set[str]:
    """The models whose results ``folder`` holds; none if it is not there.

    Raises:
        RequestError: if they are damaged, or of another evaluation than ``asked``.
    """
    if not folder.is_dir():
        return set()
    results = Results.read(folder / "results.json")
    found = {"samples": results.protocol["samples"], "seed": results.protocol["seed"]}
    found["attacks"] = sorted({row.condition for row in results.rows})
    attacks = [f"{attack} {eps}" for attack in asked.attack for eps in asked.eps]
    expected = {"samples": asked.samples, "seed": asked.seed, "attacks": sorted(attacks)}
    if found != expected:
        raise RequestError(f"{folder} holds results of {found}, not of {expected}: move it away")
    return {row.model for row in results.rows}
