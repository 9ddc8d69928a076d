"""What a check of an evaluation found: passed or not, in words, with its numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: its name, such as ``zero gradients``.
        passed: whether nothing speaks against the numbers.
        sentence: what was found, in plain words with the numbers.
        figures: the numbers by name; shares and accuracies in [0, 1].
        explanation: what it means, and what to do about it.
    """

    check: str
    passed: bool
    sentence: str
    figures: dict[str, float]
    explanation: str


def failed(findings: list[Finding]) -> list[Finding]:
    """Those that did not pass."""
    return [finding for finding in findings if not finding.passed]
