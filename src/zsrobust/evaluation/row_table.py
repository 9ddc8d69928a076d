"""Results as Python and notebooks show them: a sequence of rows, a table, a pandas data frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from zsrobust.utils.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R")
INTERVALS = ("ci95_clean", "ci95_robust")


class RowTable(Generic[R]):
    """What has ``rows``, each a dataclass."""

    rows: list[R]

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> R:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        keys = {"model": "models", "dataset": "data sets", "condition": "attacks"}
        counts = [
            f"{len({getattr(row, key) for row in self.rows})} {word}" for key, word in keys.items()
        ]
        return f"<{type(self).__name__}: {len(self.rows)} rows of {', '.join(counts)}>"

    def __str__(self) -> str:
        lines = [("model", "data set", "px", "n", "clean", "robust", "attack")]
        rows: list[Any] = self.rows
        for row in rows:
            clean, robust = (
                f"{100 * accuracy:.1f} ({100 * low:.1f}-{100 * high:.1f})"
                for accuracy, (low, high) in (
                    (row.clean_acc, row.ci95_clean),
                    (row.robust_acc, row.ci95_robust),
                )
            )
            figures = (str(row.resolution), str(row.n), clean, robust)
            lines.append((row.model, row.dataset, *figures, row.condition))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                text.rjust(width) if 2 <= at < 6 else text.ljust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def to_pandas(self) -> pd.DataFrame:
        """One line a model, data set and attack, with every field of :class:`Row`.

        An interval is two columns, ``ci95_robust_low`` and ``ci95_robust_high``; accuracies are in
        [0, 1].

        Raises:
            RequestError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise RequestError("pandas is not installed: pip install pandas") from None
        return pd.DataFrame([_plain(row) for row in self.rows])


def _plain(row: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in asdict(row).items():
        if key in INTERVALS:
            plain |= {f"{key}_low": value[0], f"{key}_high": value[1]}
        else:
            plain[key] = value
    return plain
