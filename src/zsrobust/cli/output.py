"""What a command prints: text and tables, warnings, and with ``--json`` a result for machines."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from zsrobust.utils.plain_json import plain_json

if TYPE_CHECKING:
    from zsrobust.utils.dry_run import DryRun


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

    def show(self, item: Any) -> None:
        """Write a line of text or a table of ``rich``, for people."""
        stream = sys.stderr if self.as_json else sys.stdout
        if isinstance(item, str):
            stream.write(f"{item}\n")
            return
        from rich.console import Console

        # A file or a pipe has no width to fit into. Names may hold brackets, which are no markup.
        width = None if stream.isatty() else 500
        Console(file=stream, width=width, markup=False, highlight=False).print(item)

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
