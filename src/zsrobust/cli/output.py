"""What a command prints: text and tables, warnings, and with ``--json`` a result for machines."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from zsrobust.utils.plain_json import plain_json

if TYPE_CHECKING:
    from zsrobust.utils.dry_run import DryRun

UNLIMITED = 500


def is_first_process() -> bool:
    """Whether this is the first of several processes of a launcher, or the only one."""
    return os.environ.get("RANK", "0") == "0"


class Output:
    """Where a command writes.

    Args:
        as_json: write the result to stdout as JSON, and everything else to stderr.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def stream(self) -> TextIO:
        """What people read."""
        return sys.stderr if self.as_json else sys.stdout

    @property
    def width(self) -> int:
        """Characters of a line; a file or a pipe has no width to fit into."""
        from rich.console import Console

        return Console(file=self.stream).width if self.stream.isatty() else UNLIMITED

    def show(self, item: Any) -> None:
        """Write a line of text or a table of ``rich``, for people."""
        if isinstance(item, str):
            self.stream.write(f"{item}\n")
            return
        from rich.console import Console

        # Names may hold brackets, which are no markup.
        console = Console(file=self.stream, width=self.width, markup=False, highlight=False)
        console.print(item, soft_wrap=self.width == UNLIMITED)

    def show_list(
        self, columns: Mapping[str, Sequence[str]], figures: Collection[str], drop: Sequence[str]
    ) -> None:
        """Write a table that fits the terminal: of a narrow one it leaves columns out, and says so.

        Args:
            columns: by heading, the cells.
            figures: headings of the columns that are set to the right.
            drop: headings of the columns that may be left out, in that order.
        """
        shown = dict(columns)
        left_out: list[str] = []
        for heading in drop:
            needed = sum(max(map(len, (name, *cells))) + 2 for name, cells in shown.items()) - 2
            if needed <= self.width:
                break
            left_out.append(heading)
            del shown[heading]
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for heading in shown:
            side: Literal["left", "right"] = "right" if heading in figures else "left"
            table.add_column(heading, justify=side, overflow="fold")
        for row in zip(*shown.values(), strict=True):
            table.add_row(*row)
        self.show(table)
        if left_out:
            self.show(f"left out at {self.width} columns: {', '.join(reversed(left_out))}")

    def show_dry_run(self, found: DryRun) -> None:
        """Write what would be done; from the first of several processes."""
        if is_first_process():
            for line in found.report():
                self.show(line)
            self.result(vars(found))

    def warn(self, line: str) -> None:
        """Write a line to stderr."""
        sys.stderr.write(f"{line}\n")

    def result(self, found: Any) -> None:
        """Write the result as one line of JSON, where ``--json`` was given."""
        if self.as_json:
            sys.stdout.write(f"{plain_json(found)}\n")
            # A reader at the other end of a pipe may wait for it.
            sys.stdout.flush()
