import pytest

from zsrobust.reporting.figures.curves import curves_figure
from zsrobust.reporting.figures.eps_curve import eps_figure
from zsrobust.reporting.figures.style import styles
from zsrobust.utils.errors import RequestError

METRICS = [
    {"kind": "held_out", "step": 0, "clean_acc": 0.9, "robust_acc": 0.0},
    {"kind": "train", "step": 10, "total": 3.0, "clean_acc": 0.5, "adversarial_acc": 0.1},
    {"kind": "train", "step": 20, "total": 2.0, "clean_acc": 0.6, "adversarial_acc": 0.3},
    {"kind": "held_out", "step": 20, "clean_acc": 0.8, "robust_acc": 0.4},
]


def drawn(axes, *, markers):
    return [
        (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.lines
        if (line.get_linestyle() == "None") is markers and len(line.get_xdata())
    ]


def test_training_is_lines_and_held_out_images_are_markers():
    loss, clean, attacked = curves_figure([("TeCoA", "tecoa", METRICS)]).axes
    assert drawn(loss, markers=False) == [([10, 20], [3.0, 2.0])]
    assert drawn(clean, markers=False) == [([10, 20], [50.0, 60.0])]
    assert drawn(clean, markers=True) == [([0, 20], [90.0, 80.0])]
    assert drawn(attacked, markers=False) == [([10, 20], [10.0, 30.0])]
    assert drawn(attacked, markers=True) == [([0, 20], [0.0, 40.0])]


def test_seeds_share_a_look_and_stand_in_the_legend_once():
    runs = [(name, "tecoa", METRICS) for name in ("TeCoA, 2 seeds", "TeCoA, 2 seeds")]
    figure = curves_figure([*runs, ("FARE", "fare", METRICS)])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["TeCoA, 2 seeds", "FARE"]
    colours = [line.get_color() for line in figure.axes[0].lines if len(line.get_xdata())]
    tecoa, fare = styles(["tecoa", "fare"])
    assert colours == [tecoa.colour, tecoa.colour, fare.colour]


def test_without_held_out_images_the_legend_names_the_lines():
    batches = [line for line in METRICS if line["kind"] == "train"]
    unseen = [{k: v for k, v in line.items() if k != "clean_acc"} for line in batches]
    figure = curves_figure([("TeCoA", "tecoa", unseen), ("FARE", "fare", METRICS)])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["TeCoA", "FARE"]
    tecoa, fare = figure.legends[0].legend_handles
    assert (tecoa.get_marker(), fare.get_marker()) == ("none", styles(["fare"])[0].marker)
    assert tecoa.get_color() == styles(["tecoa"])[0].colour


@pytest.mark.parametrize("narrow", [False, True])
def test_a_panel_that_no_run_has_values_for_is_left_out(narrow):
    """TeCoA sees no clean images; without held-out ones nothing is known of their accuracy."""
    batches = [line for line in METRICS if line["kind"] == "train"]
    unseen = [{k: v for k, v in line.items() if k != "clean_acc"} for line in batches]
    figure = curves_figure([("TeCoA", "tecoa", unseen)], narrow=narrow)
    assert [axes.get_title() for axes in figure.axes] == [
        "loss of a batch",
        "accuracy when attacked, %",
    ]
    loss, attacked = figure.axes
    assert drawn(loss, markers=False) == [([10, 20], [3.0, 2.0])]
    assert drawn(attacked, markers=False) == [([10, 20], [10.0, 30.0])]
    both = curves_figure([("TeCoA", "tecoa", unseen), ("FARE", "fare", METRICS)], narrow=narrow)
    assert len(both.axes) == 3


def test_no_run_is_refused():
    with pytest.raises(RequestError, match="no fine-tuning run"):
        curves_figure([])


def at_radii(results, radii):
    """Results of both models at each radius, two sets; all the same but for the radius."""
    from dataclasses import replace

    found = results(
        [
            ("a", "clip", "original", False, "pgd-10", 100, 90, 0),
            ("a", "run", "tecoa", False, "pgd-10", 100, 70, 40),
            ("b", "clip", "original", False, "pgd-10", 100, 80, 0),
            ("b", "run", "tecoa", False, "pgd-10", 100, 60, 30),
        ]
    )
    rows = [
        replace(row, eps=levels / 255, robust_acc=row.robust_acc / levels)
        for row in found.rows
        for levels in radii
    ]
    return replace(found, rows=rows)


def test_a_curve_begins_at_clean_and_goes_over_the_radii(results):
    (axes,) = eps_figure(at_radii(results, (4, 1, 2))).axes
    curves = {c.get_label(): c.lines[0] for c in axes.containers}
    assert list(curves["TeCoA"].get_xdata()) == pytest.approx([0, 1, 2, 4])
    # Means over both sets: clean 70 and 60, robust 40 and 30, then a half and a quarter.
    assert list(curves["TeCoA"].get_ydata()) == pytest.approx([65, 35, 17.5, 8.75])
    assert list(curves["original"].get_ydata()) == pytest.approx([85, 0, 0, 0])
    assert axes.get_title() == "pgd-10, average of 2 unseen"


def test_one_radius_makes_no_curve(results):
    with pytest.raises(RequestError, match="no attack was run at two radii"):
        eps_figure(at_radii(results, (4,)))
