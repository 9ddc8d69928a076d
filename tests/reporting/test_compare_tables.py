import io

import pytest
from rich.console import Console

from zsrobust.evaluation.comparison.differences import Difference
from zsrobust.evaluation.comparison.paired import Line, Pair
from zsrobust.evaluation.comparison.published import match_published
from zsrobust.evaluation.comparison.seeds import OverSeeds, Spread
from zsrobust.evaluation.results import Results, Row
from zsrobust.reporting.compare import comparison_table, published_table, seeds_table


@pytest.fixture
def pair():
    def line(dataset, condition, first, second, p):
        difference = Difference(first, second, (second - first - 0.02, second - first + 0.03), p)
        return Line(dataset, condition, dataset == "cats", 200, difference, p)

    lines = [
        line("birds", "clean", 0.5, 0.4, 0.04),
        line("birds", "pgd-10 1/255", 0.1, 0.125, 0.0004),
        line("cats", "clean", 0.5, 0.5, 0.05),
    ]
    return Pair("tecoa", "pmg", lines, [])


def test_a_comparison_in_points_with_its_verdict(pair):
    table = comparison_table(pair)
    assert table.columns[3:5] == ["tecoa", "pmg"]
    assert [len(group) for group in table.groups] == [2, 1]
    assert table.groups[0] == [
        *(["birds", "clean", "200", "50.0", "40.0", "-10.0 (-12.0 to -7.0)", "0.040", "real"],),
        [
            *("birds", "pgd-10 1/255", "200", "10.0", "12.5"),
            *("+2.5 (+0.5 to +5.5)", "<0.001", "real"),
        ],
    ]
    assert table.groups[1][0][0] == "cats (seen)"
    assert table.groups[1][0][-2:] == ["0.050", "not distinguishable"]


def test_a_comparison_renders(pair):
    console = Console(width=200, record=True)
    console.print(comparison_table(pair).for_terminal(200))
    assert "not distinguishable" in console.export_text()


@pytest.mark.parametrize("width", [30, 60, 80, 120])
def test_no_figure_is_cut_in_a_narrow_terminal(pair, width):
    table = comparison_table(pair)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table.for_terminal(width))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    for row in table.rows if width > 30 else []:
        assert all(cell in shown for cell in row)


def test_published_rows_follow_ours_and_name_their_footnotes():
    rows = [
        Row.counted(
            dataset=dataset,
            split="test",
            model="clip",
            method="original",
            seen=False,
            resolution=224,
            attack="pgd-10",
            norm="linf",
            eps=1 / 255,
            key="",
            n=200,
            clean=120,
            robust=5,
        )
        for dataset in ("cifar10", "cifar100")
    ]
    attack = {"name": "pgd-10", "threat": {"norm": "linf", "eps": 1 / 255}, "loss": "x"}
    model = {"source": "photo-lite", "method": "original", "logit_scale": 30.0, "seen": []}
    protocol = {"attacks": [attack], "precision": "fp32", "models": {"clip": model}}
    table, notes = published_table(match_published(Results(protocol, {}, rows)))
    assert [len(group) for group in table.groups] == [8, 8, 12, 8]
    assert table.groups[0][0] == ["cifar10", "clip", "clean", "60.0", "here", ""]
    clip = table.groups[2][1]
    assert clip[:5] == ["cifar10", "CLIP", "pgd-100 1/255", "2.4", "arXiv:2410.21802 table 1"]
    assert len({note.split(":")[0] for note in notes}) == len(notes) == len(set(notes))
    by_mark = dict(note.split(": ", 1) for note in notes)
    told = [by_mark[mark] for mark in clip[5].split()]
    assert "backbone: ViT-B/32 there, photo-lite here" in told
    assert "logit scale: 100 there, 30 here" in told
    used = {mark for group in table.groups for row in group for mark in row[5].split()}
    assert used == set(by_mark)


def test_no_published_rows_give_an_empty_table():
    table, notes = published_table([])
    assert (table.groups, notes) == ([], [])


def test_seeds_are_a_mean_with_its_spread():
    def summary(method, values):
        spread = Spread.of(values)
        return OverSeeds(
            dataset="birds",
            source="clip",
            method=method,
            attack="pgd-10",
            norm="linf",
            eps=1 / 255,
            seeds=len(values),
            clean=spread,
            robust=spread,
        )

    table = seeds_table([summary("original", [0.5]), summary("tecoa", [0.3, 0.32, 0.34])])
    # 2 x 4.3027 / sqrt(3) is 4.97.
    cell = "32.0 ± 2.0 (27.0 to 37.0)"
    assert table.groups == [
        [
            ["birds", "original", "1", "50.0", "pgd-10 1/255", "50.0"],
            ["birds", "tecoa", "3", cell, "pgd-10 1/255", cell],
        ]
    ]
