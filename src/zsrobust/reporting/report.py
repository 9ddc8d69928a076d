"""``zsrobust report``: one page from run folders, and each table and figure in its own file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

from zsrobust.reporting.figures.style import save_figure
from zsrobust.reporting.html.blocks import Block, Chart, Grid, Section
from zsrobust.reporting.html.page import REPORT, rendered, require_ours
from zsrobust.reporting.html.sections.accuracy import accuracy_sections, summary_blocks
from zsrobust.reporting.html.sections.findings import findings_section, warning_blocks
from zsrobust.reporting.html.sections.gallery import MOST, gallery_chart, gallery_section
from zsrobust.reporting.html.sections.protocol import protocol_section, rows_table
from zsrobust.reporting.html.sections.published import published_section
from zsrobust.reporting.html.sections.training import training_section
from zsrobust.reporting.inputs import Group, Inputs, grouped, read_inputs
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_folder, write_text

PAGE, FILES = "report.html", "files"


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
    with matplotlib.rc_context({"text.parse_math": False}):
        groups = grouped(inputs.evaluations)
        sections = _sections(inputs, groups)
        text = rendered(
            REPORT,
            title="Robustness report",
            lead=_lead(inputs, groups),
            foot=[
                "Computed from results files alone. Tables can be sorted by their headings where "
                f"JavaScript runs; every table and figure is in the folder {FILES} next to this "
                "page."
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
                    rows = rows_table(group).as_csv()
                    (folder / f"{group.prefix}rows.csv").write_text(rows, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    return Written(page, sorted((out / FILES).iterdir()))


def _lead(inputs: Inputs, groups: Sequence[Group]) -> list[str]:
    runs = [str(run.folder) for run in inputs.evaluations]
    runs += [str(run.folder) for run in inputs.trainings]
    lines = [f"From {', '.join(runs or [str(folder) for folder, _ in inputs.galleries])}."]
    if len(groups) > 1:
        lines.append(
            f"The evaluations are in {len(groups)} groups, for they are not on the same sets and "
            "attacks, or were measured differently: figures of different groups must not be "
            "compared."
        )
    return lines


def _sections(inputs: Inputs, groups: Sequence[Group]) -> list[Section]:
    sections = [
        Section(
            group.title,
            f"{group.prefix}evaluation",
            [*warning_blocks(group), *summary_blocks(group)],
            [
                *accuracy_sections(group),
                *(one for one in [published_section(group)] if one),
                findings_section(group),
                protocol_section(group),
            ],
        )
        for group in groups
    ]
    if inputs.trainings:
        sections.append(training_section(inputs.trainings))
    sections += [
        gallery_section(folder, gallery, _gallery_name(number), most=MOST // len(inputs.galleries))
        for number, (folder, gallery) in enumerate(inputs.galleries)
    ]
    return sections


def _gallery_name(number: int) -> str:
    return f"gallery-{number + 1}" if number else "gallery"


def _kept(sections: Sequence[Section], inputs: Inputs) -> Iterator[Block]:
    """What the folder next to the page holds."""
    for section in sections:
        yield from section.everything()
    for number, (_, gallery) in enumerate(inputs.galleries):
        yield gallery_chart(gallery, _gallery_name(number))


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
