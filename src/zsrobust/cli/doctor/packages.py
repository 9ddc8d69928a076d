"""What is installed, against what the package's own metadata asks for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from zsrobust._version import __version__
from zsrobust.cli.doctor.finding import Finding

TOPIC = "packages"
ENABLES = {
    "photo": "the model photo-lite",
    "pcam": "the data set pcam",
    "huggingface": "data of huggingface:FOLDER",
    "remote": "shards behind http addresses",
    "onnx": "zsrobust export --to onnx",
    "transformers": "zsrobust export --to transformers",
    "serve": "zsrobust serve",
    "docs": "building the documentation's site",
    "test": "the test suite",
}
"""What each extra is for; one that is not named here is shown without words."""


def packages() -> Iterator[Finding]:
    """Versions of everything needed, and what each extra lacks."""
    yield Finding(TOPIC, "zsrobust", "ok", f"{__version__}, Python {platform.python_version()}")
    extras: dict[str, list[Requirement]] = {}
    for requirement in map(Requirement, requires("zsrobust") or ()):
        extra = _extra(requirement)
        if extra is None:
            if requirement.marker is None or requirement.marker.evaluate():
                yield _needed(requirement)
        else:
            extras.setdefault(extra, []).append(requirement)
    for extra, wanted in extras.items():
        yield _optional(extra, wanted)


def _extra(requirement: Requirement) -> str | None:
    """The extra that asks for it, if it takes one."""
    text = str(requirement.marker or "")
    return text.partition("extra == ")[2].strip("\"'() ") or None


def _found(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _fits(requirement: Requirement, found: str | None) -> bool:
    return found is not None and requirement.specifier.contains(found, prereleases=True)


def _needed(requirement: Requirement) -> Finding:
    found, name = _found(requirement), requirement.name
    if _fits(requirement, found):
        return Finding(TOPIC, name, "ok", str(found))
    words = f"{found or 'missing'}, needed is {requirement.specifier}"
    return Finding(TOPIC, name, "broken", words, f'pip install "{name}{requirement.specifier}"')


def _optional(extra: str, wanted: list[Requirement]) -> Finding:
    lacking = [one.name for one in wanted if not _fits(one, _found(one))]
    purpose = ENABLES.get(extra, "")
    name = f"extra {extra}"
    if not lacking:
        return Finding(TOPIC, name, "ok", f"installed: {purpose}" if purpose else "installed")
    words = f"not installed: {', '.join(lacking)}" + (f" (for {purpose})" if purpose else "")
    return Finding(TOPIC, name, "note", words, f'pip install "zsrobust[{extra}]"')
