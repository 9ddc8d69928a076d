import math
from dataclasses import replace
from pathlib import Path

import pytest

from zsrobust.evaluation.checks.collapse import chance_notes, collapse_warnings, has_not_collapsed
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Results, Row, failed
from zsrobust.reporting.findings import findings_page, warnings
from zsrobust.reporting.tables import accuracy_table
from zsrobust.sweep.comparison import Line, comparison_table


def row(model, clean, n=200, method="tecoa", dataset="digits", predicted=0.15, **rest):
    facts = {"split": "test", "seen": False, "resolution": 64, "norm": "linf", "key": "k"}
    counted = {"chance_acc": 0.1, "top_class": "seven", "top_labelled": 0.1, **rest}
    return Row.counted(
        **{**facts, "dataset": dataset, "model": model, "method": method, "n": n, "clean": clean},
        **{"robust": clean, "attack": "pgd-10", "eps": 1 / 255, "top_predicted": predicted},
        **counted,
    )


def original(clean, **rest):
    return row("clip", clean, method="original", **rest)


def results(*rows, templates=("a {}",), **changes):
    """Rows of models that see all alike, but for what ``changes`` says of one by name."""
    names = {one.model: one.method for one in rows}
    models = {
        name: {"source": "clip", "method": method, "preprocessing": {"protocol": "clip"}}
        for name, method in names.items()
    }
    settings = {f"under {name}": {"templates": list(templates)} for name in names}
    for name, about in changes.items():
        models[name] |= about
    data = {one.dataset: {"class_names": ["seven", "eight"], **settings} for one in rows}
    return Results({"models": models, "data": data}, {}, list(rows))


def test_a_model_that_collapsed_is_named_with_its_figures():
    found = results(original(190), row("mine", 20, predicted=1.0))
    one_class, at_chance = failed(has_not_collapsed(found))
    for expected in ("mine", "'seven'", "100.0%", "10.0%", "digits", "200"):
        assert expected in one_class.sentence
    assert one_class.figures == {"predicted on digits": 1.0, "labelled on digits": 0.1}
    for expected in ("mine", "at chance", "10.0%", "95.0%", "digits", "200"):
        assert expected in at_chance.sentence
    assert at_chance.figures == {
        "clean on digits": 0.1,
        "chance on digits": 0.1,
        "original on digits": 0.95,
    }
    for finding in (one_class, at_chance):
        assert "optimizer.lr" in finding.explanation
    assert [one.sentence for one in (one_class, at_chance)] == collapse_warnings(found)
    assert collapse_warnings(found, ["clip"]) == []
    assert "optimizer.lr" in findings_page([one_class], {})


def test_no_one_is_told_to_fine_tune_again_what_was_not_fine_tuned():
    (finding,) = failed(has_not_collapsed(results(original(20, predicted=1.0))))
    assert "'seven'" in finding.sentence
    assert "fine-tune" not in finding.explanation


def test_one_finding_a_model_and_rule_over_all_sets():
    sets = ("digits", "letters", "signs")
    rows = [original(190, dataset=name) for name in sets]
    rows += [
        row("mine", right, dataset=name) for name, right in zip(sets, (20, 60, 22), strict=True)
    ]
    rows += [row("fine", 150, dataset=name) for name in sets]
    rows += [replace(one, attack="apgd-ce") for one in rows]
    at_chance, lost = failed(has_not_collapsed(results(*rows)))
    assert "digits" in at_chance.sentence
    assert "signs" in at_chance.sentence
    assert "letters" not in at_chance.sentence
    assert "lost most" in lost.sentence
    assert "letters" in lost.sentence
    assert len(warnings(replace(results(), findings=[at_chance, lost]))) == 2


def test_a_set_that_is_hard_for_the_original_too_raises_no_alarm():
    found = results(original(22), row("mine", 19))
    (finding,) = has_not_collapsed(found)
    assert finding.passed
    for expected in ("mine", "chance", "digits", "9.5%", "11.0%", "original"):
        assert expected in finding.sentence
    assert warnings(replace(found, findings=[finding])) == []
    notes = "\n".join(accuracy_table(found).notes)
    assert finding.sentence in notes
    assert "clip is at chance or near it" in notes


def test_an_honest_model_passes():
    (finding,) = has_not_collapsed(results(original(190), row("mine", 150)))
    assert finding.passed
    assert finding.figures == {"comparisons": 1}
    assert chance_notes(results(original(190), row("mine", 150)), {"clip", "mine"}) == []


def test_a_model_without_its_original():
    assert failed(has_not_collapsed(results(row("mine", 20)))) == []
    (note,) = has_not_collapsed(results(row("mine", 20)))
    assert "chance" in note.sentence
    assert "original" not in note.sentence
    (finding,) = failed(has_not_collapsed(results(row("mine", 20, predicted=1.0))))
    assert "'seven'" in finding.sentence
    assert has_not_collapsed(results(row("mine", 120))) == []


def test_a_single_class_that_the_original_predicts_too_is_the_original_s():
    found = results(original(20, predicted=1.0), row("mine", 20, predicted=1.0))
    (finding,) = failed(has_not_collapsed(found))
    assert finding.sentence.startswith("clip ")


@pytest.mark.parametrize(
    "other",
    [
        {"clip": {"source": "another"}},
        {"clip": {"preprocessing": {"protocol": "authors_code"}}},
    ],
)
def test_only_an_original_that_is_shown_the_same_is_compared(other):
    assert failed(has_not_collapsed(results(original(190), row("mine", 20), **other))) == []
    assert failed(has_not_collapsed(results(original(19, n=20), row("mine", 20)))) == []


def test_results_without_the_figures_are_read_and_not_judged():
    old = {"chance_acc": math.nan, "top_class": "", "top_labelled": math.nan}
    rows = [original(190, **old), row("mine", 20, predicted=math.nan, **old)]
    assert has_not_collapsed(results(*rows)) == []
    assert accuracy_table(results(*rows)).notes == []


def test_tables_of_many_runs_name_the_collapsed_ones():
    found = results(original(190), row("mine", 20), row("fine", 150))
    (line,) = collapse_warnings(found)
    run = EvaluatedRun(Path("run"), found, None)
    lines = [Line(name, [name]) for name in ("clip", "mine", "fine")]
    assert any(line in note for note in comparison_table(run, lines).notes)
    assert not any(line in note for note in comparison_table(run, lines[::2]).notes)
