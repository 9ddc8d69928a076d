"""``zsrobust leaderboard``: one page that ranks models, ours and published ones apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsrobust.reporting.boards import Board, our_boards, published_boards
from zsrobust.reporting.commands import command_after
from zsrobust.reporting.figures.series import Point
from zsrobust.reporting.html.page import LEADERBOARD, rendered, require_ours
from zsrobust.reporting.inputs import read_inputs
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text


@dataclass(frozen=True)
class Ranked:
    """A leaderboard on disk.

    Attributes:
        page: the HTML file.
        ours, published: its boards.
    """

    page: Path
    ours: list[Board]
    published: list[Board]


def write_leaderboard(folders: Sequence[Path], out: Path) -> Ranked:
    """Write the page ``out`` on the evaluations in ``folders``; nothing else is read.

    Args:
        folders: run folders of ``evaluate`` or ``demo``.
        out: a file; an earlier leaderboard is replaced.

    Raises:
        RequestError: before anything is written, if a folder holds no finished evaluation or is
            damaged, or if ``out`` is there and is no leaderboard.
    """
    if out.is_dir():
        raise RequestError(f"out {out} is a folder: name a file")
    require_ours(out, LEADERBOARD)
    for folder in folders:
        found = read_inputs([folder])
        if not found.evaluations:
            requests = [one.request for one in found.trainings if "data" in one.request]
            makes = [command_after(request, folder) for request in requests]
            raise RequestError(
                f"{folder} holds no evaluation, and it is evaluations that are ranked"
                + "".join(f": {command} makes one" for command in makes)
            )
    ranked = Ranked(out, our_boards(read_inputs(folders).evaluations), published_boards())
    text = rendered(
        LEADERBOARD,
        title="Leaderboard of zero-shot robustness",
        lead=[
            "Accuracy in per cent. Only rows that were measured the same way are in one table, and "
            "ranks hold within a table alone: a set attacked at another size, with other steps or "
            "on other numbers of samples is another measurement, and so is every paper's.",
            "Rows are ranked by their average robust accuracy over the sets that all rows of the "
            "table have in common. Where intervals overlap, a rank is no proof: zsrobust compare "
            "tests two models on the same samples.",
        ],
        foot=[
            "Computed from results files alone. The table is sorted by its headings and filtered "
            "where JavaScript runs; without it, all rows are shown, the most robust first."
        ],
        ours=ranked.ours,
        published=ranked.published,
        figure=_figure,
        percent=_percent,
    )
    try:
        write_text(out, text)
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    return ranked


def _figure(point: Point | None) -> str:
    """In per cent with its interval, where there is one."""
    if point is None:
        return "-"
    low, high = point.interval
    interval = "" if math.isnan(low) else f" ({100 * low:.1f}-{100 * high:.1f})"
    return f"{100 * point.accuracy:.1f}{interval}"


def _percent(pair: tuple[float, float] | None) -> str:
    """Robust and clean accuracy of a set."""
    if pair is None:
        return "-"
    return " / ".join("-" if math.isnan(value) else f"{100 * value:.1f}" for value in pair)
