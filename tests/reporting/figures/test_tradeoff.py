import pytest

from zsrobust.reporting.figures.tradeoff import Point, tradeoff_figure
from zsrobust.utils.errors import RequestError

NONE = (float("nan"), float("nan"))


def crosses(axes):
    """By label, centre and the ends of both whiskers, in per cent."""
    found = {}
    for container in axes.containers:
        line, _, bars = container.lines
        ends = [bar.get_segments()[0] for bar in bars]
        centre = (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        found[container.get_label()] = (centre, ends)
    return found


def test_a_point_is_a_cross_of_its_intervals():
    points = [
        Point("original", 0.8, 0.01, (0.75, 0.85), (0.0, 0.04), method="original"),
        Point("tuned", 0.7, 0.3, (0.6, 0.8), (0.25, 0.35)),
    ]
    (axes,) = tradeoff_figure(points, condition="pgd-10 1/255").axes
    (x, y), (across, along) = crosses(axes)["tuned"]
    assert (x, y) == pytest.approx((70, 30))
    assert across[:, 0] == pytest.approx([60, 80])
    assert along[:, 1] == pytest.approx([25, 35])
    assert axes.get_title() == "under pgd-10 1/255"
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed][:1] == [pytest.approx(80)]
    assert [line.get_ydata()[0] for line in dashed][1:] == [pytest.approx(1)]


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_an_interval_at_the_end_of_the_range_lies_within_the_plane(end):
    points = [
        Point("original", 0.8, end, (0.7, 0.9), (end, end), method="original"),
        Point("tuned", 0.7, 0.5, (0.6, 0.8), (0.45, 0.55)),
    ]
    (axes,) = tradeoff_figure(points, condition="x").axes
    (_, height), (across, _) = crosses(axes)["original"]
    low, high = axes.get_ylim()
    assert across[:, 0] == pytest.approx([70, 90])
    assert min(height - low, high - height) > 1
    assert set(axes.get_yticks()) <= set(range(101))


def test_seeds_are_faint_dots_and_no_interval_is_no_whisker():
    point = Point("m", 0.6, 0.2, NONE, NONE, seeds=((0.5, 0.1), (0.7, 0.3)))
    (axes,) = tradeoff_figure([point], condition="x").axes
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots] == [
        pytest.approx((50, 10)),
        pytest.approx((70, 30)),
    ]
    assert all(dot.get_alpha() < 0.6 for dot in dots)
    ((_, whiskers),) = crosses(axes).values()
    assert whiskers == []


def test_twenty_labels_are_in_the_order_of_robustness_and_none_covers_another():
    points = [
        Point(f"method {i} of a long name that needs two lines", 0.5, i / 40, NONE, NONE)
        for i in range(20)
    ]
    figure = tradeoff_figure(points, condition="x")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    texts = legend.get_texts()
    assert [int(text.get_text().split()[1]) for text in texts] == list(range(19, -1, -1))
    boxes = [text.get_window_extent() for text in texts]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 for box in boxes)
    plane = figure.axes[0].get_window_extent()
    assert plane.x1 < min(box.x0 for box in boxes)
    assert plane.width > figure.bbox.width / 3


def test_nothing_to_draw_is_refused():
    with pytest.raises(RequestError, match="no point to draw"):
        tradeoff_figure([], condition="x")
