import math

import numpy as np
import pytest

from zsrobust.evaluation.averages import Averaged
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.utils.errors import RequestError

PGD = "pgd-10"
LINES = [
    ("tiny", "clip", "original", False, PGD, 200, 160, 2),
    ("tiny", "run", "pmg_aft[paper]", True, PGD, 200, 150, 90),
    ("birds", "clip", "original", False, PGD, 100, 60, 0),
    ("birds", "run", "pmg_aft[paper]", False, PGD, 100, 50, 20),
]


def wilson(k, n, z=1.959964):
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return centre - half, centre + half


def shown(axes):
    """By the words of the legend: by height, the point and the ends of its whisker, in per cent."""
    series = {}
    for container in axes.containers:
        line, _, (whiskers,) = container.lines
        ends = [segment[:, 0] for segment in whiskers.get_segments()]
        series[container.get_label()] = {
            float(y): (float(x), *map(float, end))
            for x, y, end in zip(line.get_xdata(), line.get_ydata(), ends, strict=True)
        }
    return series


def places(figure):
    """What stands at each tick of the vertical axis."""
    axes = figure.axes[0]
    words = [label.get_text() for label in axes.get_yticklabels()]
    return dict(zip(words, axes.get_yticks(), strict=True))


def at(points, height):
    """The point of the row at ``height``."""
    (found,) = [point for y, point in points.items() if abs(y - height) < 0.5]
    return found


def test_points_and_whiskers_are_the_accuracies_and_their_intervals(results):
    figure = accuracy_figure(results(LINES))
    clean, robust = figure.axes
    rows = places(figure)
    assert list(rows) == [
        *("tiny (seen), n 200", "birds, n 100", "average of 2 all", "average of 1 unseen")
    ]
    # Averages stand apart: further from the sets than these from each other.
    heights = list(rows.values())
    assert heights[2] - heights[1] > heights[1] - heights[0]
    for axes, words, counts in (
        (clean, "original", {"tiny (seen), n 200": (160, 200), "birds, n 100": (60, 100)}),
        (clean, "PMG-AFT", {"tiny (seen), n 200": (150, 200), "birds, n 100": (50, 100)}),
        (robust, "original", {"tiny (seen), n 200": (2, 200), "birds, n 100": (0, 100)}),
        (robust, "PMG-AFT", {"tiny (seen), n 200": (90, 200), "birds, n 100": (20, 100)}),
    ):
        for place, (k, n) in counts.items():
            point, low, high = at(shown(axes)[words], rows[place])
            assert point == pytest.approx(100 * k / n)
            assert (low, high) == pytest.approx([100 * end for end in wilson(k, n)], abs=1e-3)
    point, *_ = at(shown(robust)["PMG-AFT"], rows["average of 2 all"])
    assert point == pytest.approx((45 + 20) / 2)
    point, *_ = at(shown(robust)["PMG-AFT"], rows["average of 1 unseen"])
    assert point == pytest.approx(20)
    assert robust.get_title() == "under pgd-10 4/255"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["original", "PMG-AFT"]


def test_series_of_one_set_are_drawn_below_each_other_and_within_the_axes(results):
    figure = accuracy_figure(results(LINES))
    for axes in figure.axes:
        heights = sorted(y for points in shown(axes).values() for y in points)
        assert np.diff(heights).min() > 0.1
        for point, low, high in (p for points in shown(axes).values() for p in points.values()):
            assert axes.get_xlim()[0] <= low <= point <= high <= axes.get_xlim()[1]


def test_the_attack_that_leaves_least_is_shown_unless_another_is_asked_for(results):
    stronger = [(*line[:4], "apgd-ce", *line[5:7], line[7] // 2) for line in LINES]
    both = results([*LINES, *stronger])
    assert accuracy_figure(both).axes[1].get_title() == "under apgd-ce 4/255"
    figure = accuracy_figure(both, "pgd-10 4/255")
    assert at(shown(figure.axes[1])["PMG-AFT"], 0)[0] == pytest.approx(45)
    with pytest.raises(RequestError, match=r"there is no result for cw-10 1/255: there are pgd-10"):
        accuracy_figure(both, "cw-10 1/255")


def test_seeds_of_a_recipe_are_one_series_with_students_interval(results):
    lines = [
        ("birds", "clip", "original", False, PGD, 100, 60, 0),
        ("birds", "a", "tecoa", False, PGD, 100, 50, 20),
        ("birds", "b", "tecoa", False, PGD, 100, 52, 26),
        ("birds", "c", "tecoa", False, PGD, 100, 40, 10),
    ]
    figure = accuracy_figure(results(lines, {"a": "same", "b": "same", "c": "another"}))
    series = shown(figure.axes[1])
    assert list(series) == ["original", "TeCoA (a), 2 seeds", "TeCoA (c)"]
    point, low, high = at(series["TeCoA (a), 2 seeds"], 0)
    # Student's 0.975 quantile of one degree of freedom is 12.706; here the deviation over the root
    # of two is 3.
    assert point == pytest.approx(23)
    assert low == 0
    assert high == pytest.approx(23 + 12.706 * 3, abs=0.01)


def test_all_series_look_different(results):
    methods = ["original", "tecoa", "tecoa", "other", "third", "fourth"]
    lines = [("birds", f"m{i}", m, False, PGD, 9, 5, 1) for i, m in enumerate(methods)]
    figure = accuracy_figure(results(lines))
    lines = [container.lines[0] for container in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(methods)


@pytest.mark.parametrize("letters", [3, 25, 60])
def test_the_legend_lies_within_the_figure(results, letters):
    methods = [f"{i}" * letters for i in range(8)]
    lines = [("birds", f"m{i}", m, False, PGD, 9, 5, 1) for i, m in enumerate(methods)]
    figure = accuracy_figure(results(lines))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 8
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert box.y0 >= max(axes.get_window_extent().y1 for axes in figure.axes)


def test_a_named_average_stands_between_the_sets_that_count_and_those_that_do_not(results):
    lines = [
        (name, "clip", "original", name == "c", PGD, 100, clean, clean // 2)
        for name, clean in {"a": 80, "b": 60, "c": 40, "d": 20, "e": 10}.items()
    ]
    sets = Averaged("mine", (("d",), ("b", "a")))
    figure = accuracy_figure(results(lines), sets=sets)
    rows = places(figure)
    assert list(rows) == [
        *("d, n 100", "b (counts 1/2), n 100", "a (counts 1/2), n 100", "average of 2 (mine)"),
        *("c (seen, not counted), n 100", "e (not counted), n 100"),
    ]
    heights = np.diff(list(rows.values()))
    assert min(heights[2:4]) > max(heights[0], heights[1], heights[4])
    points = shown(figure.axes[0])["original"]
    assert at(points, rows["average of 2 (mine)"])[0] == pytest.approx((20 + (60 + 80) / 2) / 2)
    for name, clean in {"a (counts 1/2)": 80, "c (seen, not counted)": 40}.items():
        assert at(points, rows[f"{name}, n 100"])[0] == pytest.approx(clean)
