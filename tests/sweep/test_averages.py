"""Averages that a plan fixes beforehand: refused where they cannot be, shown from saved results."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.outcomes import Outcomes, table
from zsrobust.evaluation.results import Results, Row
from zsrobust.sweep.comparison import Line, comparison_points
from zsrobust.sweep.plan_file import load_study, plan_path, read_averages
from zsrobust.sweep.run_study import show_study
from zsrobust.utils.errors import RequestError

N = 200
RIGHT = {
    "original": {"seen": (190, 4), "a": (180, 2), "b": (100, 0), "c": (60, 6), "d": (150, 20)},
    "t-seed-0": {"seen": (160, 90), "a": (120, 60), "b": (80, 30), "c": (40, 10), "d": (100, 50)},
    "t-seed-1": {"seen": (164, 94), "a": (124, 68), "b": (84, 30), "c": (36, 10), "d": (100, 54)},
    "p-seed-0": {"seen": (170, 90), "a": (140, 80), "b": (90, 50), "c": (30, 4), "d": (120, 60)},
    "p-seed-1": {"seen": (170, 98), "a": (144, 88), "b": (94, 53), "c": (26, 4), "d": (120, 64)},
}
"""By model and set: how many of ``N`` are right, and stay so."""
CLASSES = {
    "seen": ["Tabby_Cat", "bee"],
    "a": ["dog", "bus"],
    "b": ["cat", "bus"],
    "c": ["sea slug", "cat"],
    "d": ["category", "wildcat"],
}
"""The first of each is that of every sample."""
MAIN = "sets of Interest"
AVERAGES = {MAIN: ["b", ["a", "c"]], "the seen one": ["seen", "d"]}


def _outcomes(right):
    wrong = N - right
    ids = [f"{index:04d}" for index in range(N)]
    fell_to = [""] * right + ["clean"] * wrong
    return Outcomes(ids, [0] * N, [0] * right + [1] * wrong, [0.0] * N, [1.0] * N, fell_to)


@pytest.fixture
def saved(tmp_path):
    """A study as it is saved, with ``about`` beside its only comparison's lines."""

    def make(models=tuple(RIGHT), **about):
        rows, tables = [], []
        for model in models:
            sets = RIGHT[model]
            for dataset, (clean, robust) in sets.items():
                row = Row.counted(
                    **{"dataset": dataset, "split": "test", "model": model, "norm": "linf"},
                    **{"method": model.partition("-")[0], "seen": dataset == "seen", "n": N},
                    **{"resolution": 32, "attack": "pgd-10", "eps": 4 / 255, "clean": clean},
                    **{"key": f"{model} {dataset}", "robust": robust},
                )
                rows.append(row)
                tables.append(table(row, _outcomes(clean), _outcomes(robust)))
        described = {
            name: {"source": "x", "recipe": "" if name == "original" else name.partition("-")[0]}
            for name in models
        }
        folder = tmp_path / "results" / "equal-steps"
        folder.mkdir(parents=True)
        data = {name: {"class_names": CLASSES[name]} for name in RIGHT["original"]}
        Results({"models": described, "data": data}, {}, rows).write(folder / "results.json")
        pq.write_table(pa.concat_tables(tables), folder / "outcomes.parquet")
        lines = [
            {"title": title, "models": [name for name in models if name.startswith(start)]}
            for title, start in (("original", "o"), ("TeCoA", "t"), ("PMG-AFT", "p"))
        ]
        comparison = {"reference": "TeCoA", "lines": lines, "claims": ["PMG-AFT"], **about}
        file = tmp_path / "results" / "comparisons.json"
        file.write_text(json.dumps({"equal-steps": comparison}))
        return tmp_path

    return make


def cells(text, heading):
    """The rows of the table below a heading."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def mean(model, weights, kind):
    """In per cent, over the model's two seeds."""
    of = [sets for name, sets in RIGHT.items() if name.startswith(model)]
    total = sum(w * sets[name][kind] / N for sets in of for name, w in weights.items())
    return 100 * total / len(of) / sum(weights.values())


def test_tables_and_claims_are_of_the_averages_that_were_saved(saved):
    found = show_study(saved(averages=AVERAGES))
    main, other = {"b": 1, "a": 0.5, "c": 0.5}, {"seen": 1, "d": 1}
    (_, _, row) = cells(found.text, "equal steps")
    assert row[5] == str(3 * N)
    assert row[6].startswith(f"{mean('p', main, 0):.1f} (")
    assert row[7].startswith(f"{mean('p', main, 1):.1f} (")
    assert row[8].startswith(f"{mean('p', main, 0) - mean('t', main, 0):+.1f} (")
    assert row[9].startswith(f"{mean('p', main, 1) - mean('t', main, 1):+.1f} (")
    # The plain mean of the unseen sets is another number.
    plain = dict.fromkeys("abcd", 1)
    assert f"{mean('p', plain, 0):.1f}" != f"{mean('p', main, 0):.1f}"
    for words in (f"Average of 2 ({MAIN}), per cent", "is over b, (a, c); sets in brackets"):
        assert words in found.text

    rows = cells(found.text, "equal steps, by average")
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (over, str(n), title)
        for over, n in ((f"of 2 ({MAIN})", 3 * N), ("of 2 (the seen one)", 2 * N))
        for title in ("original", "TeCoA", "PMG-AFT")
    ]
    assert rows[2][3:] == row[6:]
    assert rows[5][3].startswith(f"{mean('p', other, 0):.1f} (")
    assert rows[5][6].startswith(f"{mean('p', other, 1) - mean('t', other, 1):+.1f} (")
    original = mean("original", main, 0), mean("original", main, 1)
    assert "On the average of 2, sets of Interest (n 600, mean of 2 seeds)" in found.text
    assert "from {:.1f}% to {:.1f}%".format(*original) in found.text

    rows = cells(found.text, "equal steps, by set")
    assert [(row[0], row[2]) for row in rows] == [
        (name, title)
        for name in ("seen (seen)", "a", "b", "c", "d")
        for title in ("original", "TeCoA", "PMG-AFT")
    ]
    for name, (reference, row) in zip(
        "abcd", zip(rows[4::3], rows[5::3], strict=True), strict=True
    ):
        of = {name: 1}
        assert row[1] == str(N)
        assert reference[3].startswith(f"{mean('t', of, 0):.1f} (")
        assert row[4].startswith(f"{mean('p', of, 1):.1f} (")
        assert row[5].startswith(f"{mean('p', of, 0) - mean('t', of, 0):+.1f} (")


def test_differences_are_over_the_seeds_that_both_have(saved):
    models = [name for name in RIGHT if name != "p-seed-0"]
    text = show_study(saved(models, averages={"a and b": ["a", "b"]})).text
    original, _, row = cells(text, "equal steps")
    assert row[4] == "1"
    of = {"a": 1, "b": 1}
    assert row[6].startswith(f"{mean('p-seed-1', of, 0):.1f} (")
    assert row[8].startswith(f"{mean('p-seed-1', of, 0) - mean('t-seed-1', of, 0):+.1f} (")
    assert row[9].startswith(f"{mean('p-seed-1', of, 1) - mean('t-seed-1', of, 1):+.1f} (")
    # An original has no seeds, and is compared with every one.
    assert original[8].startswith(f"{mean('original', of, 0) - mean('t', of, 0):+.1f} (")
    assert "Where a model lacks seeds of TeCoA, they are over those that both have." in text
    # The claim is of that seed alone, too.
    assert "from {:.1f}% to".format(mean("original", of, 0)) in text
    assert "mean of 2 seeds" not in text


def test_without_a_common_seed_there_is_no_difference_and_no_claim(saved):
    models = ["original", "t-seed-0", "p-seed-1"]
    text = show_study(saved(models, averages={"a and b": ["a", "b"]})).text
    _, _, row = cells(text, "equal steps")
    assert row[8:] == ["", ""]
    assert "## claims" not in text


def test_figures_are_of_the_first_average(saved):
    folder = saved(averages=AVERAGES)
    figures = [path for path in show_study(folder).figures if path.suffix == ".svg"]
    assert [path.stem for path in figures] == ["accuracy-equal-steps", "tradeoff-equal-steps"]
    for path in figures:
        assert f"average of 2 ({MAIN})" in path.read_text("utf-8")
        # Lines are called as in the tables.
        assert "PMG-AFT" in path.read_text("utf-8")
    results = Results.read(folder / "results" / "equal-steps" / "results.json")
    lines = [Line("PMG-AFT", ["p-seed-0", "p-seed-1"])]
    sets = Averaged.of_plain(MAIN, AVERAGES[MAIN])
    place, (point,) = comparison_points(results, "pgd-10 4/255", lines, sets)
    assert (place.name, place.n) == (f"average of 2 ({MAIN})", 3 * N)
    weights = {"b": 1, "a": 0.5, "c": 0.5}
    assert 100 * point.clean == pytest.approx(mean("p", weights, 0))
    for seed, (clean, robust) in enumerate(point.seeds):
        assert 100 * clean == pytest.approx(mean(f"p-seed-{seed}", weights, 0))
        assert 100 * robust == pytest.approx(mean(f"p-seed-{seed}", weights, 1))


def test_without_averages_nothing_is_new(saved):
    text = show_study(saved()).text
    assert "by average" not in text
    assert "Average of 4 unseen sets, per cent" in text
    assert "On the average of 4 unseen sets" in text


def test_results_without_a_set_of_an_average_are_refused(saved):
    with pytest.raises(RequestError, match="no result on nowhere, which the average 'some'"):
        show_study(saved(averages={"some": ["a", "nowhere"]}))


def test_classes_that_a_set_has_do_not_count(saved):
    outside = {"sets": ["a", "d"], "without_classes_of": "seen"}
    none = {"sets": ["a", "b"], "without_classes_of": "seen"}
    text = show_study(saved(averages={**AVERAGES, "outside": outside, "none": none})).text
    rows = cells(text, "equal steps, by average")[6:]
    weights = {"a": 1, "d": 1}
    assert [row[:3] for row in rows] == [
        ["of 2 (outside)", str(2 * N), title] for title in ("original", "TeCoA", "PMG-AFT")
    ]
    assert rows[2][4].startswith(f"{mean('p', weights, 1):.1f} (")
    difference = mean("p", weights, 1) - mean("t", weights, 1)
    assert rows[2][6].startswith(f"{difference:+.1f} (")
    # All samples of b are tabby cats' kin: nothing is left of it.
    assert "Left out, since not all of their sets are evaluated: none." in text
    assert "is over a, d, without classes that seen has." in text


@pytest.fixture
def plan(tmp_path):
    """The study of the plan ``glyphs`` with averages."""

    def make(averages, **options):
        content = yaml.safe_load(plan_path("glyphs").read_text("utf-8"))
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({**content, "averages": averages}, sort_keys=False))
        return load_study(path, tmp_path / "out", **options)

    return make


def test_a_plan_says_its_averages(plan):
    assert plan(None).averages == []
    study = plan({"one": ["greek", ["zodiac", "crosses"]], "two": ["greek"]})
    assert [one.name for one in study.averages] == ["one", "two"]
    assert study.averages[0].entries == (("greek",), ("zodiac", "crosses"))


@pytest.mark.parametrize(
    ("averages", "words"),
    [
        ({"some": ["nowhere"]}, "'some' is over nowhere, which the plan does not evaluate by pgd"),
        ({"some": []}, r"'some' is over \[\]"),
        ({"some": [["greek", "greek"]]}, "'some' has greek twice"),
        (
            {"some": ["greek"], "more": {"sets": ["greek"], "without_classes_of": "nowhere"}},
            "'more' is over nowhere, which the plan does not evaluate",
        ),
        (
            {"some": {"sets": ["greek"], "without_classes_of": "zodiac"}},
            "'some' is the first, .* leave without_classes_of out",
        ),
    ],
)
def test_averages_that_cannot_be_are_refused_with_the_plan(plan, averages, words):
    with pytest.raises(RequestError, match=words):
        plan(averages)


def test_every_evaluation_has_the_first_average_and_one_each_other(photos):
    evaluation = EvaluateConfig(
        model=["x"],
        data=[
            f"imagefolder:{photos('one', 2, 1)}",
            f"imagefolder:{photos('two', 2, 1)},name=mine",
            "dtd:/nowhere",
        ],
    )
    both = {"pgd": evaluation, "fewer": replace(evaluation, data=evaluation.data[1:])}
    every, some = ["one", ["mine", "dtd"]], ["dtd", "mine"]
    assert len(read_averages({"some": some, "every": every}, both)) == 2
    with pytest.raises(RequestError, match=r"'every' is over one, .* by fewer: .* mine, dtd"):
        read_averages({"every": every, "some": some}, both)
    with pytest.raises(RequestError, match=r"'more' is over svhn, .* by pgd: .* one, mine, dtd"):
        read_averages({"some": some, "more": [*every, "svhn"]}, both)


def test_a_further_average_is_left_out_of_results_without_its_sets_and_named(saved):
    text = show_study(saved(averages={**AVERAGES, "more": ["a", "svhn"], "all": ["svhn"]})).text
    assert len(cells(text, "equal steps, by average")) == 6
    assert "Left out, since not all of their sets are evaluated: more, all." in text


def test_an_average_whose_set_of_classes_is_not_evaluated_is_left_out(saved):
    lacking = {"sets": ["a"], "without_classes_of": "elsewhere"}
    text = show_study(saved(averages={MAIN: AVERAGES[MAIN], "of few": lacking})).text
    assert "Left out, since not all of their sets are evaluated: of few." in text
    assert "(of few)" not in text
