import re
from dataclasses import replace

from zsrobust.evaluation.results import Results, Row
from zsrobust.reporting.paper import paper_table

METHODS = {
    "runs/a/model": "tecoa",
    "runs/b/model": "pmg_aft[authors_code]",
    "clip": "original",
}


def row(dataset, model, clean, robust, *, attack="pgd-10", seen=False, method=None, n=200):
    return Row.counted(
        **{"dataset": dataset, "split": "test", "model": model, "attack": attack, "norm": "linf"},
        **{"method": method or METHODS[model], "seen": seen, "resolution": 32, "eps": 4 / 255},
        **{"key": "", "n": n, "clean": clean, "robust": robust},
    )


def parsed(text):
    """Rows of cells between the rules, headings included, and rules as rows of one cell."""
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    return [
        [cell.strip() for cell in line.removesuffix(r"\\").split(" & ")]
        for line in body.splitlines()
    ]


def width(cells):
    """Columns of the table that the cells take."""
    spans = [re.match(r"\\multicolumn\{(\d+)\}", cell) for cell in cells]
    return sum(int(span[1]) if span else 1 for span in spans)


def test_a_row_a_method_clean_and_robust_side_by_side_best_in_bold():
    rows = [
        *(row("cifar10", "clip", 180, 0), row("my_set", "clip", 160, 2)),
        *(row("cifar10", "runs/a/model", 120, 80), row("my_set", "runs/a/model", 140, 60)),
        *(row("cifar10", "runs/b/model", 130, 70), row("my_set", "runs/b/model", 140, 66)),
    ]
    text = paper_table(Results({}, {}, rows))
    lines = parsed(text)
    assert [lines[1][1][:22], lines[1][2], lines[1][3]] == [
        r"\multicolumn{2}{c}{CIF",
        r"\multicolumn{2}{c}{My set}",
        r"\multicolumn{2}{c}{Average}",
    ]
    assert "CIFAR-10" in lines[1][1]
    assert lines[2] == [r"\cmidrule(lr){2-3} \cmidrule(lr){4-5} \cmidrule(lr){6-7}"]
    assert lines[3] == ["Method", *("Clean", "Robust") * 3]
    assert lines[5] == ["Original", "90.0", "0.0", "80.0", "1.0", "85.0", "0.5"]
    assert lines[6] == [r"\midrule"]
    # Best of the fine-tuned methods; equals are both bold.
    assert lines[7] == [
        *("TeCoA", "60.0", r"\textbf{40.0}", r"\textbf{70.0}", "30.0", "65.0", r"\textbf{35.0}"),
    ]
    assert lines[8] == [
        *("PMG-AFT (authors code)", r"\textbf{65.0}", "35.0", r"\textbf{70.0}"),
        *(r"\textbf{33.0}", r"\textbf{67.5}", "34.0"),
    ]
    columns = re.search(r"\\begin\{tabular\}\{(.*)\}", text)[1].replace(" ", "")
    assert columns == "lrrrrrr"
    assert {width(line) for line in lines if len(line) > 1} == {len(columns)}
    assert "runs/" not in text


def test_the_caption_counts_images():
    def caption(*rows):
        return re.search(r"\\caption\{(.*)\}", paper_table(Results({}, {}, list(rows))))[1]

    one, other = row("cifar10", "clip", 180, 0), row("my_set", "clip", 160, 2, n=1100)
    assert " 200 images." in caption(one)
    assert " 200 to 1,100 images of each set." in caption(one, other)


def test_what_is_too_wide_is_averages_alone():
    rows = [
        row(f"set{i}", model, 100 + 10 * i, 10 * i, seen=i == 0)
        for i in range(7)
        for model in METHODS
    ]
    lines = parsed(paper_table(Results({}, {}, rows)))
    assert [re.sub(r".*\{(.*)\}", r"\1", cell) for cell in lines[1][1:]] == [
        "Average (all)",
        "Average (unseen)",
    ]
    assert lines[5] == ["Original", "65.0", "15.0", "67.5", "17.5"]


def test_attacks_have_a_column_each_and_gaps_a_dash():
    rows = [row("birds", model, 100, 20) for model in METHODS]
    rows.append(row("birds", "clip", 100, 10, attack="autoattack"))
    text = paper_table(Results({}, {}, rows))
    lines = parsed(text)
    assert lines[3] == ["Method", "Clean", "PGD-10 4/255", "AutoAttack 4/255"]
    assert lines[5][1:] == ["50.0", "10.0", "5.0"]
    assert lines[7][1:] == [r"\textbf{50.0}", r"\textbf{10.0}", "--"]
    assert text.count("{") == text.count("}")
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1


def test_names_are_escaped():
    text = paper_table(Results({}, {}, [row("a&b_c%", "m", 100, 50, method="tecoa[x_y & 5%]")]))
    assert r"A\&b c\%" in text
    assert r"TeCoA (x y \& 5\%)" in text


def test_a_start_that_all_share_is_named_in_the_caption():
    begun = {"start": {"name": "start", "method": "tecoa", "weights": "w"}}
    models = {
        "clip": {"weights": "c"},
        "start": {"weights": "w"},
        "a": {"weights": "a", **begun},
        "b": {"weights": "b", **begun},
        "c": {"weights": "d"},
    }

    def names(rows):
        text = paper_table(Results({"models": models}, {}, rows))
        named = "from start." in re.search(r"\\caption\{(.*)\}", text)[1]
        return [line[0] for line in parsed(text)[5:] if len(line) > 1], named

    rows = [
        row("birds", "clip", 180, 0),
        row("birds", "start", 150, 60, method="tecoa"),
        row("birds", "a", 140, 50, method="tecoa, then tecoa"),
        row("birds", "b", 130, 70, method="tecoa, then fare"),
    ]
    assert names(rows) == (["Original", "start", "TeCoA", "FARE"], True)
    # With another that began elsewhere, each says where.
    rows.append(row("birds", "c", 130, 70, method="pmg_aft[paper]"))
    each = ["Original", "start", "TeCoA from start", "FARE from start", "PMG-AFT"]
    assert names(rows) == (each, False)


def collapsed(row):
    """The same row of a model that answers one class."""
    return replace(row, chance_acc=0.2, top_class="x", top_predicted=1.0, top_labelled=0.2)


def test_a_method_that_has_collapsed_is_never_the_best():
    rows = [
        row("birds", "clip", 180, 0),
        collapsed(row("birds", "runs/a/model", 150, 150)),
        row("birds", "runs/b/model", 130, 70),
        row("birds", "runs/c/model", 120, 60, method="fare"),
    ]
    text = paper_table(Results({}, {}, rows))
    assert parsed(text)[7:] == [
        ["TeCoA$^*$", "75.0", "75.0"],
        ["PMG-AFT (authors code)", r"\textbf{65.0}", r"\textbf{35.0}"],
        ["FARE", "60.0", "30.0"],
    ]
    assert "*: has collapsed, and is not compared." in text
    # Of two fine-tuned ones the other is compared with the original.
    two = paper_table(Results({}, {}, rows[:3]))
    assert parsed(two)[5] == ["Original", r"\textbf{90.0}", "0.0"]
    assert parsed(two)[-1] == ["PMG-AFT (authors code)", "65.0", r"\textbf{35.0}"]
    assert r"\textbf" not in paper_table(Results({}, {}, [rows[1]]))


def test_an_unattacked_defence_is_never_the_best():
    rows = [
        replace(row("birds", "runs/a/model", 150, 90), adaptive=False),
        row("birds", "runs/b/model", 130, 70),
        row("birds", "runs/c/model", 120, 60, method="fare"),
    ]
    bold = [line for line in parsed(paper_table(Results({}, {}, rows))) if "bf" in str(line)]
    assert [line[0] for line in bold] == ["PMG-AFT (authors code)"]
