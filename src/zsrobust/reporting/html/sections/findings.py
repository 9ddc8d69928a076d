"""The section on what speaks for and against the numbers."""

from __future__ import annotations

from dataclasses import replace

from zsrobust.evaluation.results import Finding, failed
from zsrobust.reporting.findings import warnings
from zsrobust.reporting.html.blocks import Block, Grid, Paragraph, Section
from zsrobust.reporting.inputs import Group
from zsrobust.reporting.tables import TextTable
from zsrobust.utils.units import format_radius


def warning_blocks(group: Group) -> list[Block]:
    """A warning for every check that failed, of every evaluation.

    Only :func:`findings_section` lists what could not be checked.
    """
    blocks: list[Block] = []
    for run in group.runs:
        checked = [report for report in run.results.sanity if not report.refused]
        where = "" if len(group.runs) == 1 else f"{run.folder}: "
        for line in warnings(replace(run.results, sanity=checked)):
            blocks.append(Paragraph(f"{where}{line}", warning=True))
    return blocks


def findings_section(group: Group) -> Section:
    """Every check with its verdict: those of the results, and the sanity checks that were run."""
    rows: list[list[str]] = []
    for run in group.runs:
        rows += _rows(f"results of {run.folder}", run.results.findings)
        for report in run.results.sanity:
            radius = format_radius(report.norm, report.eps)
            of = f"{report.model} on {report.dataset} at {radius}, n {report.n}"
            rows += _rows(of, report.findings)
            if report.refused:
                rows.append(["sanity checks", "not run", of, report.refused, ""])
    blocks: list[Block] = []
    if rows:
        columns = ["check", "verdict", "of", "found", "what it means"]
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
    return Section("Diagnostic findings", f"{group.prefix}checks", blocks)


def _rows(of: str, findings: list[Finding]) -> list[list[str]]:
    ordered = [*failed(findings), *(finding for finding in findings if finding.passed)]
    return [
        [
            *(finding.check, "passed" if finding.passed else "FAILED", of),
            *(finding.sentence, finding.explanation),
        ]
        for finding in ordered
    ]
