"""The section on what speaks for and against the numbers."""

from __future__ import annotations

from collections.abc import Iterator

from zsrobust.evaluation.results import Finding, failed
from zsrobust.reporting.html.blocks import Block, Grid, Paragraph, Section
from zsrobust.reporting.inputs import Group
from zsrobust.reporting.tables import TextTable
from zsrobust.utils.units import format_radius

SHOWN = 3
"""Findings of one check that stand at the top; the appendix has all."""


def warning_blocks(group: Group) -> list[Block]:
    """A warning for every check that failed; :func:`findings_section` explains it."""
    found: dict[str, list[str]] = {}
    for of, findings in _checked(group):
        for finding in failed(findings):
            sentence = f"{of}: {finding.sentence}" if of else finding.sentence
            found.setdefault(finding.check, []).append(sentence)
    blocks: list[Block] = []
    for check, sentences in found.items():
        more = f"; and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
        line = f"warning, failed check “{check}”: {'; '.join(sentences[:SHOWN])}{more}"
        blocks.append(Paragraph(line, warning=True))
    return blocks


def findings_section(group: Group) -> Section:
    """Every check with its verdict: those of the results, and the sanity checks that were run."""
    rows = [
        [
            *(finding.check, finding.verdict, of or "results"),
            *(finding.sentence, "" if finding.verdict == "passed" else finding.explanation),
        ]
        for of, findings in _checked(group)
        for finding in [*failed(findings), *(one for one in findings if one.passed)]
    ]
    rows += [
        ["sanity checks", "not run", f"{report.model} on {report.dataset}", report.refused, ""]
        for run in group.runs
        for report in run.results.sanity
        if report.refused
    ]
    blocks: list[Block] = []
    if rows:
        columns = ["check", "verdict", "of", "found", "what it means"]
        if not any(row[-1] for row in rows):
            columns, rows = columns[:-1], [row[:-1] for row in rows]
        table = TextTable(columns, [rows])
        blocks.append(Grid(f"{group.prefix}findings", "Checks and what they found", table))
    else:
        blocks.append(Paragraph("No check was run."))
    if not any(run.results.sanity for run in group.runs):
        blocks.append(
            Paragraph(
                "The sanity checks, which attack each model anew, were not run: the command of "
                "the evaluation with --sanity true runs them."
            )
        )
    return Section("Checks", f"{group.prefix}checks", blocks)


def _checked(group: Group) -> Iterator[tuple[str, list[Finding]]]:
    """What was checked, empty for the results of the only evaluation, and the findings."""
    for run in group.runs:
        yield ("" if len(group.runs) == 1 else str(run.folder)), run.results.findings
        for report in run.results.sanity:
            radius = format_radius(report.norm, report.eps)
            of = f"{report.model} on {report.dataset} at {radius}, n {report.n}"
            yield of, report.findings
