import csv
import io
import re
from dataclasses import replace

import pytest

from zsrobust.evaluation.results import Results, Row
from zsrobust.models.names import short_names
from zsrobust.reporting.names import templates_title
from zsrobust.reporting.tables import TextTable, accuracy_table


def row(dataset, model, eps, clean, robust, seen=False):
    return Row.counted(
        dataset=dataset,
        split="test",
        model=model,
        method="original",
        seen=seen,
        resolution=224,
        attack="pgd-10",
        norm="linf",
        eps=eps,
        key="",
        n=200,
        clean=clean,
        robust=robust,
    )


def test_every_model_and_both_averages_are_shown():
    rows = [
        row(dataset, model, levels / 255, clean, robust, seen=dataset == "tiny")
        for dataset, clean in (("tiny", 100), ("birds", 60))
        for model, robust in (("clip", 0), ("tuned", 50))
        for levels in (1, 4)
    ]
    table = accuracy_table(Results({}, {}, rows))
    assert table.columns == [
        *("data set", "px", "model", "n", "clean"),
        *("pgd-10 1/255", "pgd-10 4/255"),
    ]
    lines = [line for group in table.groups for line in group]
    assert [[line[0], line[2]] for line in lines] == [
        [name, model]
        for name in ("tiny (seen)", "birds", "average of 2 all", "average of 1 unseen")
        for model in ("clip", "tuned")
    ]
    # Wilson's interval of 50 of 200 by the formula: 19.5 % to 31.4 %.
    assert lines[1][4:6] == ["50.0 (43.1-56.9)", "25.0 (19.5-31.4)"]
    assert lines[5][4].startswith("40.0 (")
    assert lines[7][4].startswith("30.0 (")


def test_markdown_has_a_cell_for_every_column():
    table = accuracy_table(Results({}, {}, [row("a", "m", 1 / 255, 1, 0)]))
    lines = table.as_markdown().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[1].count("---") == 2


def test_paths_are_shown_by_their_last_part_where_that_tells_them_apart(tmp_path):
    for name in ("a/run", "b/run", "b/other"):
        (tmp_path / name).mkdir(parents=True)
    one, two, three = (str(tmp_path / name) for name in ("a/run", "b/run", "b/other"))
    assert short_names([one, three, "ViT-B-32/openai"]) == {
        one: "run",
        three: "other",
        "ViT-B-32/openai": "ViT-B-32/openai",
    }
    assert short_names([one, two]) == {one: one, two: two}


def test_an_attack_undefined_on_a_set_leaves_its_place_empty():
    rows = [row("two", "m", 1 / 255, 50, 9), row("ten", "m", 1 / 255, 60, 8)]
    rows.append(replace(rows[1], attack="apgd-t", robust_acc=0.02, ci95_robust=(0.01, 0.03)))
    table = accuracy_table(Results({}, {}, rows))
    two, ten, average = [line for group in table.groups for line in group]
    assert two[-1] == "-"
    assert ten[-1] == "2.0 (1.0-3.0)"
    assert average[0] == "average of 2 unseen"
    assert average[-1] == "2.0 (1.0-3.0) [of 1]"


def test_with_many_attacks_each_has_a_line():
    rows = [
        replace(row(dataset, model, 1 / 255, clean, robust, seen=model == "b"), attack=attack)
        for dataset, clean in (("tiny", 100), ("birds", 60))
        for model, robust in (("a", 0), ("b", 50))
        for attack in ("pgd-10", "cw-10", "square")
    ]
    table = accuracy_table(Results({}, {}, rows))
    assert table.columns == ["data set", "attack", "a", "b"]
    assert [line[0] for group in table.groups for line in group][::4] == [
        "tiny (seen), n 200, 224 px",
        "birds (seen), n 200, 224 px",
        "average of 2 all",
    ]
    assert [line[1] for line in table.groups[0]] == [
        "clean",
        *(f"{attack} 1/255" for attack in ("pgd-10", "cw-10", "square")),
    ]
    assert table.groups[1][0][2:] == ["30.0 (24.1-36.7)"] * 2
    assert table.groups[1][2][2:] == ["0.0 (0.0-1.9)", "25.0 (19.5-31.4)"]


def test_notes_are_below_the_table():
    noted = replace(row("two", "B@their.pth.tar", 1 / 255, 50, 9), note="apgd-t left out")
    protocol = {
        "samples": 200,
        "data": {"two": {"attack_notes": {"apgd-dlr": "apgd-dlr left out"}}},
        "attacks": [{"name": "pgd-10", "logit_scale": 1.0, "restarts": 1}],
    }
    table = accuracy_table(Results(protocol, {}, [noted]))
    assert table.notes == [
        "* two: apgd-t left out",
        "two: apgd-dlr left out",
        "pgd-10: logit scale 1.0",
        "what B@their.pth.tar was trained on is not recorded: what counts as unseen may not be",
        "accuracies are class-balanced",
    ]
    assert table.groups[0][0][-1] == "4.5 (2.4-8.3)*"
    assert table.as_markdown().endswith(f"{table.notes[-1]}\n")


def test_l2_radii_are_no_pixel_levels():
    rows = [replace(row("a", "m", 0.5, 50, 9), norm="l2")]
    table = accuracy_table(Results({}, {}, rows))
    assert table.columns[-1] == "pgd-10 l2 0.5"


def test_csv_and_latex_hold_every_cell_as_it_is():
    table = TextTable(
        ["data set", "clean"],
        [[['a, "b"', "1.5 (1.0-2.0)"]], [["50% of_x & {y} ~^\\ $<>|", "-"], ["[z] ±", "2"]]],
        notes=["a_note"],
    )
    rows = list(csv.reader(io.StringIO(table.as_csv())))
    assert rows == [table.columns, *table.rows]
    lines = table.as_latex("Top 5%").splitlines()
    assert r"\caption{Top 5\%}" in lines
    assert r"\begin{tabular}{lr}" in lines
    assert lines.count(r"\midrule") == 2
    assert (
        r"50\% of\_x \& \{y\} \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\$\textless{}\textgreater{}\textbar{} & - \\" in lines
    )
    assert r"{[}z] \textpm{} & 2 \\" in lines
    assert r"\par a\_note" in lines


def test_a_table_that_is_wider_than_a_page_has_its_rows_side_by_side_in_latex():
    columns = [f"heading {i}" for i in range(9)]
    rows = [[f"{'a long cell of words ' * 2}{run}{i}" for i in range(9)] for run in "xyz"]
    lines = TextTable(columns, [rows]).as_latex("Runs").splitlines()
    (sides,) = re.findall(r"begin\{tabular\}\{(.*)\}", "\n".join(lines))
    widths = [float(width) for width in re.findall(r"p\{([\d.]+)\\linewidth\}", sides)]
    assert 0.5 < sum(widths) < 0.8
    found = [line.removesuffix(r" \\").split(" & ") for line in lines if " & " in line]
    assert {len(cells) for cells in found} == {1 + len(widths)}
    shown = [cell for line in found for cell in line[1:] if cell.strip()]
    assert sorted(shown) == sorted(cell for row in rows for cell in row)
    assert [line[0] for line in found] == 2 * columns
    narrow = TextTable(columns[:2], [[row[:2] for row in rows]]).as_latex("Runs")
    assert r"\begin{tabular}{p{5cm}p{5cm}}" in narrow


def test_no_name_is_a_formula_in_a_spreadsheet():
    names = ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1"]
    figures = ["-5.0", "+8.9 (+6.4 to +8.9)", "-", "<0.001", "12"]
    table = TextTable(["=heading"], [[[cell]] for cell in names + figures])
    rows = [row for (row,) in csv.reader(io.StringIO(table.as_csv()))]
    assert rows == ["'=heading", *(f"'{name}" for name in names), *figures]


def test_a_bar_in_a_name_opens_no_further_cell_in_markdown():
    text = TextTable(["data set"], [[["a|b"]]]).as_markdown()
    assert text.splitlines()[2] == r"| a\|b |"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("84.7 (83.4-85.6)", "figure"),
        ("<0.001", "figure"),
        ("+7.8 (+6.4 to +8.9)", "figure"),
        ("30.0 ± 10.0 (5.2 to 54.8)", "figure"),
        ("12.0 (1.0-2.0)* [of 3]", "figure"),
        ("3.11.7", "figure"),
        ("2305fc42ca6ce092", "text"),
        ("104 comparisons", "text"),
        ("1/255", "text"),
        ("words that go on for longer than a cell", "long"),
    ],
)
def test_a_column_of_figures_is_known_by_its_cells(cell, kind):
    assert TextTable(["x"], [[[cell], ["-"], [""]]]).kinds == [kind]


def test_an_ensemble_of_templates_is_told_by_its_number():
    assert templates_title(["a {}", "the {}"]) == "a {}; the {}"
    found = templates_title([f"{word} {{}}" for word in range(80)])
    assert "80 templates" in found
    assert found.endswith("0 {}")
