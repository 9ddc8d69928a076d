"""Draw docs/zero_shot_robustness.png, the figure of the README, from committed results.

python scripts/docs/picture.py
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import Point, accuracy_series, main_average
from zsrobust.reporting.figures.style import SMALL, TEXT, bare, new_figure
from zsrobust.sweep.run_study import COMPARISONS, read_comparisons

DOCS = Path(__file__).parents[2] / "docs"
PICTURE = DOCS / "zero_shot_robustness.png"
METHODS = {
    "original": "original",
    "FT-Clean": "FT-Clean",
    "TeCoA": "TeCoA",
    "PMG-AFT (authors_code)": "PMG-AFT",
}
PANELS = {"glyphs": "glyph-clip, drawn images", "photos": "photo-lite, photographs"}
BARS = {"clean": (-0.2, "#b3cde8"), "robust": (0.2, "#0b5394")}


def picture() -> Figure:
    """Clean and robust accuracy of four models in two replications, with 95 % intervals."""
    figure = new_figure(3.1, 8.5)
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
        folder = DOCS / "replication" / name / "results"
        about = read_comparisons(folder / COMPARISONS)["equal-steps"]
        results = Results.read(folder / "equal-steps" / "results.json")
        (under,) = {row.condition for row in results.rows}
        places, series = accuracy_series(results, under, about.main)
        place = main_average(places).name
        of = {model: one for one in series for model in one.models}
        by_title = {line.title: of[line.models[0]] for line in about.lines}
        for row, method in enumerate(METHODS):
            one = by_title[method]
            _bar(axes, row, "clean", one.clean[place])
            _bar(axes, row, "robust", one.robust[place])
        bare(axes)
        over = place if about.main else f"{place} sets"
        axes.set_title(f"{title}\n{under}, {over}", fontsize=TEXT)
        axes.set_xlabel("zero-shot accuracy, %", fontsize=SMALL)
        axes.set_xlim(left=0)
    panels[0].set_yticks(range(len(METHODS)), METHODS.values(), fontsize=TEXT)
    panels[0].invert_yaxis()
    labels = ["clean images", "adversarial images"]
    figure.legend(
        *(panels[0].containers[:2], labels),
        loc="outside lower center",
        ncols=2,
        fontsize=TEXT,
        frameon=False,
    )
    return figure


def _bar(axes: Axes, row: int, side: str, point: Point) -> None:
    offset, colour = BARS[side]
    accuracy, (low, high) = 100 * point.accuracy, (100 * limit for limit in point.interval)
    axes.barh(row + offset, accuracy, 0.38, color=colour)
    axes.plot([low, high], [row + offset] * 2, color="#333333", linewidth=0.9)
    axes.annotate(
        f"{accuracy:.1f}",
        (high, row + offset),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
    )


if __name__ == "__main__":
    picture().savefig(PICTURE, dpi=160)
