from itertools import pairwise

import pytest

from zsrobust.reporting.figures.distance import distance_figure
from zsrobust.utils.errors import RequestError


def test_bars_are_the_distances_of_the_selected_models(run_folder):
    tecoa = run_folder("tecoa", "tecoa", {0: 0.0, 10: 0.01, 20: 0.03}, 20, 0.03)
    pmg = run_folder("pmg", "pmg_aft[paper]", {0: 0.0, 10: 0.015, 20: 0.02}, 10, 0.015)
    bars, lines = distance_figure([tecoa, pmg]).axes
    assert [label.get_text() for label in bars.get_xticklabels()] == ["TeCoA", "PMG-AFT"]
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([3.0, 1.5])
    assert [text.get_text() for text in bars.texts] == ["3", "1.5"]
    curves = {line.get_label(): line for line in lines.lines}
    assert list(curves["PMG-AFT"].get_xdata()) == [0, 10, 20]
    assert list(curves["PMG-AFT"].get_ydata()) == pytest.approx([0, 1.5, 2])
    rings = [line for line in lines.lines if line.get_markerfacecolor() == "none"]
    assert [(*ring.get_xdata(), *ring.get_ydata()) for ring in rings] == [
        pytest.approx((20, 3.0)),
        pytest.approx((10, 1.5)),
    ]


def test_several_runs_of_a_method_are_one_bar_and_a_point_each(run_folder):
    runs = [
        run_folder(f"seed{i}", "tecoa", {0: 0.0, 5: d}, 5, d) for i, d in ((0, 0.01), (1, 0.03))
    ]
    bars, lines = distance_figure(runs).axes
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([2.0])
    assert list(bars.lines[0].get_ydata()) == pytest.approx([1.0, 3.0])
    assert [text.get_text() for text in lines.get_legend().get_texts()] == ["TeCoA"]


def test_runs_of_one_method_with_titles_of_their_own_are_bars_of_their_own(run_folder):
    distances = {"sgd0": 0.01, "sgd1": 0.03, "adamw0": 0.05}
    runs = [run_folder(name, "tecoa", {0: 0.0, 5: d}, 5, d) for name, d in distances.items()]
    titles = {"sgd0": "TeCoA, SGD", "sgd1": "TeCoA, SGD", "adamw0": "TeCoA, AdamW"}
    bars, lines = distance_figure(runs, titles=titles).axes
    named = [label.get_text() for label in bars.get_xticklabels()]
    assert named == ["TeCoA, SGD", "TeCoA, AdamW"]
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([2.0, 5.0])
    assert len({bar.get_facecolor() for bar in bars.patches}) == 2
    assert [text.get_text() for text in lines.get_legend().get_texts()] == named


def test_names_of_many_methods_do_not_cover_each_other(run_folder):
    presets = ("authors_code", "authors_first_revision", "ttc")
    methods = ["ft_clean", "tecoa", "trades", *(f"pmg_aft[{preset}]" for preset in presets)]
    runs = [
        run_folder(f"run{i}", method, {0: 0.0, 5: 0.01}, 5, 0.01)
        for i, method in enumerate(methods)
    ]
    figure = distance_figure(runs)
    bars, lines = figure.axes
    figure.canvas.draw()
    names = [label.get_window_extent() for label in bars.get_xticklabels()]
    # Turned names lie side by side: each ends below its own bar, with room for a line between.
    ends = [box.x1 for box in names]
    assert all(after - before > 8 for before, after in pairwise(ends))
    assert {label.get_rotation() for label in bars.get_xticklabels()} == {40.0}
    assert lines.get_legend() is None


def test_an_unfinished_run_is_named(run_folder, tmp_path):
    run = run_folder("run", "tecoa", {0: 0.0}, 5, 0.1)
    (run / "metrics.jsonl").unlink()
    with pytest.raises(RequestError, match=f"{run} is no finished fine-tuning run"):
        distance_figure([run])
    with pytest.raises(RequestError, match=r"nowhere/model/model\.json cannot be read"):
        distance_figure([tmp_path / "nowhere"])
