"""The section on numbers that papers printed, where they fit."""

from __future__ import annotations

from dataclasses import replace

from zsrobust.evaluation.comparison.published import match_published
from zsrobust.reporting.compare import HOW_PUBLISHED, published_table
from zsrobust.reporting.html.blocks import Grid, Paragraph, Section
from zsrobust.reporting.inputs import Group


def published_section(group: Group) -> Section | None:
    """Ours next to published rows of the same set, attack kind and eps; None if there are none."""
    table, notes = published_table(match_published(group.results))
    if not table.groups:
        return None
    caption = "Accuracy in per cent: ours (source: here) and as printed"
    return Section(
        "Beside published rows",
        f"{group.prefix}beside-published",
        [
            Paragraph(HOW_PUBLISHED),
            Grid(f"{group.prefix}published", caption, replace(table, notes=notes), folded=True),
        ],
    )
