"""A page of findings in Markdown: what was checked, on what, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zsrobust.evaluation.results import Finding, Results, failed
from zsrobust.evaluation.starts import below_start
from zsrobust.utils.units import Eps

FEW = 30


def warnings(results: Results) -> list[str]:
    """A line for every failed check of an evaluation, and every skipped one of its results.

    And one for every model that is below the fine-tuned one that it was made from.
    """
    reports = [
        (f"{report.model} on {report.dataset}: ", report.findings) for report in results.sanity
    ]
    lines = [
        f"warning: {place}{finding.sentence}. {finding.explanation}"
        for place, findings in [("", results.findings), *reports]
        for finding in failed(findings)
    ]
    lines += [
        f"note: {finding.sentence}. {finding.explanation}"
        for finding in results.findings
        if finding.skipped
    ]
    lines += [f"warning: {sentence}" for sentence in below_start(results)]
    return lines + [
        f"warning: {report.model} on {report.dataset} could not be checked: {report.refused}"
        for report in results.sanity
        if report.refused
    ]


def sanity_page(results: Results) -> str:
    """The findings on the results, then every sanity report."""
    pages = []
    if results.findings:
        pages.append(findings_page(results.findings, {"of": "the results"}))
    for report in results.sanity:
        protocol = {
            "model": report.model,
            "data": report.dataset,
            "threat model": f"L-inf {Eps(report.eps)}"
            if report.norm == "linf"
            else f"L2 {report.eps:g}",
            "samples judged (those it has right)": report.n,
            "seed": results.protocol["seed"],
        }
        if report.refused:
            protocol["not checked"] = report.refused
        elif report.n < FEW:
            protocol["mind"] = f"passing on fewer than {FEW} samples says little"
        pages.append(findings_page(report.findings, protocol))
    return "\n".join(pages)


def findings_page(findings: Sequence[Finding], protocol: dict[str, Any]) -> str:
    """Every finding with its verdict, numbers and explanation; failed ones first.

    Args:
        findings: of one run.
        protocol: what they hold for, shown line by line, such as ``{"model": ..., "data": ...,
            "threat model": "linf 1/255", "n": 100, "seed": 0}``.
    """
    wrong = failed(list(findings))
    ordered = [*wrong, *(finding for finding in findings if finding.passed)]
    skipped = sum(finding.skipped for finding in findings)
    lines = ["# Findings", "", _verdict(len(wrong), len(findings), skipped), ""]
    lines += [f"- {key}: {value}" for key, value in protocol.items()]
    lines += ["", "| check | verdict | found |", "| --- | --- | --- |"]
    lines += [
        f"| {_cell(finding.check)} | {_word(finding)} | {_cell(finding.sentence)} |"
        for finding in ordered
    ]
    for finding in ordered:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in finding.figures.items())
        lines += [
            "",
            f"## {finding.check}: {_word(finding)}",
            "",
            f"Found: {finding.sentence}.",
            "",
            finding.explanation,
        ]
        lines += ["", f"Figures: {figures}."] if figures else []
    return "\n".join(lines) + "\n"


def _verdict(wrong: int, checks: int, skipped: int) -> str:
    if not checks:
        return "There was nothing to check."
    if not wrong and skipped:
        return f"{checks - skipped} checks passed, and {skipped} could not be made."
    if not wrong:
        return f"All {checks} checks passed: none of them speaks against the numbers."
    return (
        f"**{wrong} of {checks} checks failed: a robust accuracy of this model under these attacks "
        "is not to be trusted until they are explained.**"
    )


def _word(finding: Finding) -> str:
    return finding.verdict if finding.passed else f"**{finding.verdict}**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
