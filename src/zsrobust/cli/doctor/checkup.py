"""All that is looked at, in order; a part that fails is a finding, not the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zsrobust.cli.doctor.finding import Finding
from zsrobust.cli.doctor.machine import devices, storage, variables
from zsrobust.cli.doctor.material import data_sets, models
from zsrobust.cli.doctor.packages import packages

Part = Callable[[], Iterator[Finding]]


@dataclass(frozen=True)
class Checkup:
    """Everything that was found."""

    findings: list[Finding]

    @property
    def usable(self) -> bool:
        """Whether nothing that is needed is broken."""
        return all(finding.state != "broken" for finding in self.findings)

    @property
    def problems(self) -> list[Finding]:
        """What is broken, and what has a remedy; the broken first."""
        ill = [one for one in self.findings if one.state == "broken"]
        return ill + [one for one in self.findings if one.state == "note" and one.remedy]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"usable": self.usable, "findings": [asdict(one) for one in self.findings]}


def checkup(root: Path) -> Checkup:
    """Look at everything; published sets are looked for below ``root``."""
    parts: dict[str, Part] = {
        "packages": packages,
        "devices": devices,
        "models": models,
        "data": partial(data_sets, root),
        "storage": storage,
        "environment": variables,
    }
    return Checkup([found for topic, part in parts.items() for found in _guarded(topic, part)])


def _guarded(topic: str, part: Part) -> list[Finding]:
    found = []
    try:
        for finding in part():
            found.append(finding)
    # A broken installation fails in any way, and that is what is looked for.
    except Exception as reason:
        words = f"{type(reason).__name__}: {' '.join(str(reason).split())}"
        remedy = "install zsrobust again in a new environment"
        found.append(Finding(topic, "this part", "broken", words, remedy))
    return found
