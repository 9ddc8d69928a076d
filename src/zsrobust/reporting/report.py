"""``zsrobust report``: one page from run folders, and each table and figure in its own file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

from zsrobust.evaluation.checks.diagnostics import synthetic_sets
from zsrobust.evaluation.gallery import Gallery
from zsrobust.reporting.figures.series import strongest
from zsrobust.reporting.figures.style import save_figure, watermark
from zsrobust.reporting.html.blocks import Block, Chart, Grid, Section
from zsrobust.reporting.html.page import REPORT, rendered, require_ours
from zsrobust.reporting.html.sections.accuracy import (
    accuracy_sections,
    accuracy_tables,
    names_blocks,
    summary_grid,
)
from zsrobust.reporting.html.sections.failures import (
    failure_tables,
    failures_section,
    misclassified_section,
)
from zsrobust.reporting.html.sections.findings import findings_section, warning_blocks
from zsrobust.reporting.html.sections.gallery import MOST, gallery_chart, gallery_section
from zsrobust.reporting.html.sections.protocol import protocol_section, rows_table
from zsrobust.reporting.html.sections.published import published_section
from zsrobust.reporting.html.sections.training import runs_section, training_section
from zsrobust.reporting.inputs import Group, Inputs, grouped, read_inputs
from zsrobust.reporting.paper import REHEARSAL, paper_table
from zsrobust.reporting.verdict import verdict
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_folder, write_text

PAGE, FILES, PAPER = "report.html", "files", "paper.tex"


@dataclass(frozen=True)
class Written:
    """A report on disk.

    Attributes:
        page: the HTML file.
        files: its figures and tables in other formats.
    """

    page: Path
    files: list[Path]


def write_report(folders: Sequence[Path], out: Path) -> Written:
    """Write ``out/report.html`` and, in ``out/files``, its figures and tables in other formats.

    Args:
        folders: run folders of ``evaluate``, ``finetune`` or ``demo``; nothing else is read.
        out: a folder; what it holds is left alone, but for an earlier report.

    Raises:
        RequestError: before anything is written, if a folder is no finished run or is damaged, or
            if ``out`` holds a page or files that are not ours.
    """
    page = out / PAGE
    if out.exists() and not out.is_dir():
        raise RequestError(f"out {out} is a file: name a folder")
    require_ours(page, REPORT)
    if (out / FILES).exists() and not page.exists():
        raise RequestError(f"out {out} holds {FILES} that are no report's: name another folder")
    inputs = read_inputs(folders)
    # A name may hold a dollar, which would begin a formula.
    rehearsed = any(synthetic_sets(run.results) for run in inputs.evaluations)
    with (
        matplotlib.rc_context({"text.parse_math": False}),
        watermark(REHEARSAL if rehearsed else ""),
    ):
        groups = grouped(inputs.evaluations)
        sections = _sections(inputs, groups)
        text = rendered(
            REPORT,
            title=f"Robustness report{f': {REHEARSAL}' if rehearsed else ''}",
            verdicts=[_verdict(group) for group in groups],
            lead=_lead(groups),
            foot=[
                f"Made from {', '.join(_folders(inputs))}, from results files alone. Every table "
                f"and figure is in the folder {FILES} next to this page, and the table of a paper "
                f"as {PAPER}."
            ],
            sections=sections,
            files=FILES,
        )
        try:
            # The page first: files without one are refused as foreign.
            write_text(page, text)
            with atomic_folder(out / FILES) as folder:
                for block in _kept(sections, inputs):
                    _write(block, folder)
                for group in groups:
                    tables = {"rows": rows_table(group), **failure_tables(group)}
                    for name, text in (
                        (PAPER, paper_table(group.results, f"tab:{group.prefix}zsrobust")),
                        *((f"{name}.csv", table.as_csv()) for name, table in tables.items()),
                    ):
                        (folder / f"{group.prefix}{name}").write_text(text, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    return Written(page, sorted((out / FILES).iterdir()))


def _verdict(group: Group) -> str:
    text = verdict(group.results, group.parts, strongest(group.results))
    return f"{group.title}: {text}" if group.number else text


def _lead(groups: Sequence[Group]) -> list[str]:
    if len(groups) < 2:
        return []
    return [
        f"The evaluations are in {len(groups)} groups, for they are not on the same sets and "
        "attacks, or were measured differently: figures of different groups must not be compared."
    ]


def _folders(inputs: Inputs) -> list[str]:
    found = [run.folder for run in inputs.evaluations]
    found += [run.folder for run in inputs.trainings]
    found += [folder for folder, _ in inputs.galleries]
    return list(dict.fromkeys(map(str, found)))


def _sections(inputs: Inputs, groups: Sequence[Group]) -> list[Section]:
    sections = [
        Section(
            group.title,
            f"{group.prefix}evaluation",
            [summary_grid(group), *names_blocks(group), *warning_blocks(group)],
            [
                *accuracy_sections(group),
                *(one for one in (failures_section(group), misclassified_section(group)) if one),
            ],
        )
        for group in groups
    ]
    if inputs.trainings:
        sections.append(training_section(inputs.trainings))
    most = MOST // max(1, len(inputs.galleries))
    sections += [
        gallery_section(gallery, f"Gallery {number}".removesuffix(" 1"), name, most=most)
        for number, (name, gallery) in enumerate(_galleries(inputs), 1)
    ]
    appendix = [part for group in groups for part in _appendix(group)]
    if inputs.trainings:
        appendix.append(runs_section(inputs.trainings))
    if appendix:
        sections.append(Section("Appendix", "appendix", [], appendix))
    return sections


def _appendix(group: Group) -> Iterator[Section]:
    parts = [
        Section("All results", f"{group.prefix}all-results", accuracy_tables(group)),
        *(one for one in [published_section(group)] if one),
        findings_section(group),
        protocol_section(group),
    ]
    for part in parts:
        title = f"Evaluation {group.number}: {part.title}" if group.number else part.title
        yield replace(part, title=title)


def _galleries(inputs: Inputs) -> list[tuple[str, Gallery]]:
    """Each gallery with the name of its section and figure."""
    return [
        (f"gallery-{number}" if number > 1 else "gallery", gallery)
        for number, (_, gallery) in enumerate(inputs.galleries, 1)
    ]


def _kept(sections: Sequence[Section], inputs: Inputs) -> Iterator[Block]:
    """What the folder next to the page holds."""
    for section in sections:
        yield from section.everything()
    for name, gallery in _galleries(inputs):
        yield gallery_chart(gallery, name)


def _write(block: Block, folder: Path) -> None:
    if isinstance(block, Chart):
        save_figure(block.figure, folder / block.name)
    elif isinstance(block, Grid):
        for suffix, text in (
            ("csv", block.table.as_csv()),
            ("tex", block.table.as_latex(block.caption)),
            ("md", block.table.as_markdown()),
        ):
            (folder / f"{block.name}.{suffix}").write_text(text, encoding="utf-8")
