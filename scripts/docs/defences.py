"""Gather what evaluations say of test-time defences: python scripts/docs/defences.py RUN...

It writes ``docs/replication/defences.json``, from which ``docs/defences.md`` has its table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zsrobust.evaluation.results import Results
from zsrobust.utils.files import write_text

TARGET = Path(__file__).parents[2] / "docs" / "replication" / "defences.json"


def gathered(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """A row a model, data set and radius, with what each attack left and what an answer costs.

    Of several runs that have a model the one with the most attacks counts.
    """
    found: dict[tuple[str, str, float], dict[str, Any]] = {}
    for folder in folders:
        results = Results.read(folder / "results.json")
        for row in results.defences:
            defence = results.protocol["models"][row.model].get("defence", {})
            attacks = {
                one.attack: {"robust_acc": one.robust_acc, "adaptive": one.adaptive}
                for one in results.rows
                if (one.model, one.dataset, one.eps) == (row.model, row.dataset, row.eps)
            }
            key = row.model, row.dataset, row.eps
            if key not in found or len(attacks) > len(found[key]["attacks"]):
                found[key] = {**asdict(row), "defence": defence, "attacks": attacks}
    return [found[key] for key in sorted(found)]


if __name__ == "__main__":
    rows = gathered([Path(name) for name in sys.argv[1:]])
    write_text(TARGET, json.dumps(rows, indent=1) + "\n")
    print(f"{TARGET}: {len(rows)} rows")
