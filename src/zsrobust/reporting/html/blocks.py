"""What a page is made of: paragraphs, tables, figures and pictures, in sections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from zsrobust.reporting.tables import TextTable

FOLDED = 15
"""Rows of a table in the appendix beyond which it is folded."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        text: its words.
        warning: whether it is set apart as one.
        files: names of further files of the report, linked after the words.
    """

    text: str
    warning: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Code:
    """Lines to copy, such as a command.

    Attributes:
        text: the lines.
        label: what they are.
        folded: whether they are shown once asked for.
    """

    text: str
    label: str
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        name: of its files, unique in a report.
        title: its caption.
        alt: what it shows, with its main numbers, for readers who cannot see it.
        figure: the drawing.
        narrow: the same for a phone; None where the drawing fits one.
    """

    name: str
    title: str
    alt: str
    figure: Figure
    narrow: Figure | None = None


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        name: of its files, unique in a report.
        caption: what it shows.
        table: its cells.
        folded: whether it is shown once asked for.
        cards: whether a phone shows each row as a card, for the rows that matter most.
        condensed: whether the page says once what is the same in all rows.
    """

    name: str
    caption: str
    table: TextTable
    folded: bool = False
    cards: bool = False
    condensed: bool = False

    @property
    def shown(self) -> TextTable:
        """What the page shows; files hold the whole table."""
        return self.table.condensed() if self.condensed else self.table


@dataclass(frozen=True)
class Picture:
    """An image of a gallery.

    Attributes:
        source: a ``data:`` address.
        alt: what it is.
        heading: in a word or two.
        lines: the predictions for it, a line a model, and whether each is right.
    """

    source: str
    alt: str
    heading: str
    lines: list[tuple[str, bool]] = field(default_factory=list)


@dataclass(frozen=True)
class Pictures:
    """A row of pictures of one sample."""

    title: str
    pictures: list[Picture]


Block = Paragraph | Code | Chart | Grid | Pictures


@dataclass(frozen=True)
class Section:
    """A heading and the blocks below it.

    Attributes:
        title: the heading.
        name: its address on the page, unique there.
        blocks: in order.
        parts: sections one level below, after the blocks.
    """

    title: str
    name: str
    blocks: Sequence[Block]
    parts: Sequence[Section] = ()

    def everything(self) -> Iterator[Block]:
        """All blocks, those of the parts included."""
        yield from self.blocks
        for part in self.parts:
            yield from part.everything()
