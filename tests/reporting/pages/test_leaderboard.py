import csv
import json
from dataclasses import replace
from importlib import resources
from statistics import fmean

import pytest

from zsrobust.evaluation.results import Results
from zsrobust.reporting.inputs import read_inputs
from zsrobust.reporting.leaderboard import our_boards, published_boards, write_leaderboard
from zsrobust.utils.errors import RequestError

HOSTILE = '</script><script>alert(1)</script>"><img src=x onerror=alert(2)> $\\frac{'


def boards(*runs):
    return our_boards(read_inputs(runs).evaluations)


def ranks(board):
    average = board.averages[0]
    return [(board.rank(e), e.name, e.robust[average].accuracy) for e in board.entries]


def test_models_are_ranked_by_what_they_keep_on_unseen_sets(evaluation, tmp_path):
    (board,) = boards(evaluation(tmp_path / "run"))
    assert board.attack == "pgd-10 4/255"
    assert board.averages == ["average of 1 unseen", "average of 2 all"]
    assert ranks(board) == [
        (1, "PMG-AFT", pytest.approx(0.4)),
        (2, "TeCoA", pytest.approx(0.3)),
        (3, "original", pytest.approx(0.01)),
    ]
    pmg = board.entries[0]
    assert pmg.by_set == {
        "birds": pytest.approx((0.4, 0.55)),
        "tiny": pytest.approx((0.2, 0.5)),
    }
    assert pmg.robust["average of 2 all"].accuracy == pytest.approx(0.3)
    assert pmg.clean["average of 2 all"].accuracy == pytest.approx(0.525)


def test_a_model_that_has_collapsed_is_last_and_has_no_rank(evaluation, tmp_path):
    run = evaluation(tmp_path / "run")
    results = Results.read(run / "results.json")
    leader = our_boards(read_inputs([run]).evaluations)[0].entries[0]
    rows = [
        replace(row, chance_acc=0.2, top_class="x", top_predicted=1.0, top_labelled=0.2)
        if row.method.startswith("pmg_aft")
        else row
        for row in results.rows
    ]
    replace(results, rows=rows).write(run / "results.json")
    (board,) = boards(run)
    assert leader.name == "PMG-AFT"
    assert [(rank, name) for rank, name, _ in ranks(board)] == [
        (1, "TeCoA"),
        (2, "original"),
        (None, "PMG-AFT"),
    ]
    assert "PMG-AFT has collapsed and is left out." in board.verdict


def test_models_of_several_runs_are_ranked_together_over_the_sets_in_common(evaluation, tmp_path):
    one = evaluation(
        tmp_path / "one",
        [(s, "a", "tecoa", False, 100, 80, r) for s, r in (("s", 10), ("t", 30), ("u", 90))],
    )
    other = evaluation(
        tmp_path / "other", [(s, "b", "fare", False, 100, 70, r) for s, r in (("s", 20), ("t", 40))]
    )
    (board,) = boards(other, one)
    assert board.common == ["s", "t"]
    assert board.sets == ["s", "t", "u"]
    assert ranks(board) == [(1, "FARE", pytest.approx(0.3)), (2, "TeCoA", pytest.approx(0.2))]
    assert board.entries[0].by_set["u"] is None
    assert board.entries[1].by_set["u"] == pytest.approx((0.9, 0.8))


def test_a_model_on_few_sets_does_not_shrink_what_others_are_ranked_by(evaluation, tmp_path):
    many = evaluation(
        tmp_path / "many", [(f"set {i}", "a", "tecoa", False, 100, 80, 10) for i in range(5)]
    )
    few = evaluation(tmp_path / "few", [("set 0", "b", "fare", False, 100, 80, 50)])
    first, second = boards(few, many)
    assert len(first.common) == 5
    assert [entry.name for entry in first.entries] == ["TeCoA"]
    assert [entry.name for entry in second.entries] == ["FARE"]


@pytest.mark.parametrize("change", [{"steps": 20}, {"px": 64}, {"classes": ("a", "c")}])
def test_what_was_measured_differently_is_on_another_board(evaluation, tmp_path, change):
    line = ("birds", "m", "tecoa", False, 100, 50, 20)
    one = evaluation(tmp_path / "one", [line])
    other = evaluation(tmp_path / "other", [(*line[:1], "n", "fare", *line[3:])], **change)
    assert [len(board.entries) for board in boards(one, other)] == [1, 1]
    same = evaluation(tmp_path / "same", [(*line[:1], "n", "fare", *line[3:])])
    assert [len(board.entries) for board in boards(one, same)] == [2]


def test_numbers_of_samples_make_another_measurement(evaluation, tmp_path):
    runs = [
        evaluation(tmp_path / f"{n}", [("birds", f"m{n}", "tecoa", False, n, n // 2, 5)])
        for n in (100, 1000)
    ]
    assert len(boards(*runs)) == 2


def test_attacks_and_radii_are_boards_of_their_own(evaluation, tmp_path):
    run = evaluation(tmp_path / "run", eps=("1/255", "4/255"))
    assert [board.attack for board in boards(run)] == ["pgd-10 4/255", "pgd-10 1/255"]


def test_the_attack_that_leaves_least_comes_first_as_in_a_report(evaluation, tmp_path):
    weak, strong = (
        evaluation(tmp_path / name, [("birds", "m", "tecoa", False, 100, 50, robust)], eps=(eps,))
        for name, eps, robust in (("weak", "1/255", 40), ("strong", "4/255", 10))
    )
    found = boards(weak, strong)
    assert [board.attack for board in found] == ["pgd-10 4/255", "pgd-10 1/255"]
    write_leaderboard([weak, strong], tmp_path / "board.html")
    page = (tmp_path / "board.html").read_text()
    assert page.index(found[0].verdict) < page.index("Measured here") < page.index(found[1].verdict)


def test_noise_is_shown_last_and_without_ranks(evaluation, tmp_path):
    lines = [
        ("birds", name, "tecoa", False, 100, 50, robust) for name, robust in (("a", 9), ("b", 5))
    ]
    weak = evaluation(tmp_path / "noise", lines, attack="noise-5")
    strong = evaluation(
        tmp_path / "pgd", [(*line[:-1], line[-1] + 30) for line in lines], eps=("1/255",)
    )
    attacked, noise = boards(weak, strong)
    assert (attacked.attack, noise.attack) == ("pgd-10 1/255", "noise-5 4/255")
    assert [attacked.rank(entry) for entry in attacked.entries] == [1, 2]
    assert [noise.rank(entry) for entry in noise.entries] == [None, None]
    assert noise.verdict == ""


def test_methods_are_shown_with_their_models(evaluation, tmp_path):
    run = evaluation(
        tmp_path / "run",
        [
            ("birds", name, method, False, 100, 50, 20)
            for name, method in (("runs/a b", "tecoa"), ("original", "original"))
        ],
    )
    (board,) = boards(run)
    assert {entry.name: entry.models for entry in board.entries} == {
        "TeCoA": ("runs/a b",),
        "original": (),
    }
    write_leaderboard([run], tmp_path / "board.html")
    assert '<div class="note">runs/<wbr>a b</div>' in (tmp_path / "board.html").read_text()


def test_seeds_are_one_row_and_equal_names_are_made_unique(evaluation, tmp_path):
    runs = []
    for seed, robust in enumerate((20, 40)):
        lines = [("birds", "runs/x", "tecoa", False, 100, 60, robust)]
        weights, recipes = {"runs/x": f"w{seed}"}, {"runs/x": "one"}
        runs.append(evaluation(tmp_path / f"e{seed}", lines, weights=weights, recipes=recipes))
    (board,) = boards(*runs)
    (entry,) = board.entries
    assert entry.name == "TeCoA, 2 seeds"
    assert entry.robust["average of 1 unseen"].accuracy == pytest.approx(0.3)
    assert [value for word, value in entry.details if word == "model"] == [
        f"runs/x, evaluated in {run}" for run in runs
    ]
    apart = [
        evaluation(tmp_path / f"f{n}", [("birds", "runs/x", "tecoa", False, 100, 60, 9)], weights=w)
        for n, w in enumerate(({"runs/x": "w0"}, {"runs/x": "w1"}))
    ]
    (board,) = boards(*apart)
    assert {entry.name for entry in board.entries} == {
        f"TeCoA (runs/x ({folder}))" for folder in apart
    }


def test_a_model_of_two_evaluations_is_one_row_of_all_its_sets(evaluation, tmp_path):
    runs = [
        evaluation(tmp_path / name, [(s, "clip", "original", False, 100, 90, r) for s, r in sets])
        for name, sets in (("one", [("s", 10), ("t", 20)]), ("other", [("s", 15), ("u", 30)]))
    ]
    (board,) = boards(*runs)
    (entry,) = board.entries
    # What was measured first counts.
    assert {name: pair[0] for name, pair in entry.by_set.items()} == pytest.approx(
        {"s": 0.1, "t": 0.2, "u": 0.3}
    )
    assert board.common == ["s", "t", "u"]


def test_the_details_of_a_row_are_its_protocol(evaluation, tmp_path):
    (board,) = boards(evaluation(tmp_path / "run"))
    details = dict(board.entries[0].details)
    assert details["weights, recipe"] == "weights of runs/pmg, -"
    assert details["attack"] == "steps 10, step size 1/255, seed 0"
    assert details["sets"] == "birds test n 200 at 32 px, tiny test n 100 at 32 px"
    assert details["command"].startswith("zsrobust evaluate --model runs/pmg --data")


def test_published_rows_are_the_printed_numbers():
    file = resources.files("zsrobust.evaluation.comparison") / "published_results.csv"
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    sets = list(rows[0])[12:]
    printed = {
        (row["method"], row["attack"], row["eps_255"]): fmean(float(row[s]) for s in sets if row[s])
        for row in rows
        if row["metric"] == "robust"
    }
    shown = [
        (entry.name, entry.robust[board.averages[0]].accuracy)
        for board in published_boards()
        for entry in board.entries
    ]
    rounded = [(method, round(mean, 6)) for (method, *_), mean in printed.items()]
    assert sorted((name, round(100 * accuracy, 6)) for name, accuracy in shown) == sorted(rounded)
    (pgd,) = [board for board in published_boards() if board.attack == "pgd-100 1/255"]
    assert [entry.name for entry in pgd.entries][:2] == ["TGA-ZSR", "PMG-AFT"]
    assert {"mean of 1/255, 2/255, 4/255"} == {
        board.attack.removeprefix("pgd-100 ")
        for board in published_boards()
        if "mean" in board.attack
    }


def test_the_page_shows_ours_and_published_apart(evaluation, read_page, tmp_path):
    lines = [(f"set {HOSTILE}", f"model {HOSTILE}", "original", False, 100, 80, 10)]
    runs = [evaluation(tmp_path / "a"), evaluation(tmp_path / "b", lines)]
    written = write_leaderboard(runs, tmp_path / "out.html")
    page = read_page(written.page.read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not [key for _, at in page.elements for key in at if key.startswith("on")]
    assert page.visible.count(HOSTILE) > 3
    ours, *_ = (table["rows"] for table in page.tables)
    assert ours[0][:5] == ["rank", "model", "robust", "clean", "average of 2 all, robust"]
    assert ours[1][:2] == ["1", "PMG-AFT runs/pmg"]
    assert ours[1][2].startswith("40.0 (")
    every = page.table("pgd-10 4/255, 2 sets: every set")
    assert every[:2] == [["model", "birds", "tiny"], ["PMG-AFT", "40.0 / 55.0", "20.0 / 50.0"]]
    tags = {
        row[heading]
        for t in page.tables
        if "result" in t["rows"][0]
        for heading in [t["rows"][0].index("result")]
        for row in t["rows"][1:]
    }
    assert tags == {"measured here", "as printed"}
    levels = [level for level, _ in page.headings]
    assert levels[:3] == [1, 2, 3]
    ids = [at["id"] for _, at in page.elements if "id" in at]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)


def test_only_evaluations_are_ranked_and_only_a_leaderboard_is_replaced(
    evaluation, training, tmp_path
):
    run, tuned, out = evaluation(tmp_path / "e"), training(tmp_path / "t"), tmp_path / "out.html"
    with pytest.raises(RequestError, match="t holds no evaluation"):
        write_leaderboard([run, tuned], out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(RequestError, match="was not made by zsrobust leaderboard"):
        write_leaderboard([run], out)
    assert out.read_text() == "mine"
    with pytest.raises(RequestError, match="is a folder"):
        write_leaderboard([run], tmp_path)
    out.unlink()
    first = write_leaderboard([run], out).page.read_text()
    assert write_leaderboard([run], out).page.read_text() == first
    content = json.loads((run / "results.json").read_text())
    del content["protocol"]["data"]["birds"]["under clip"]
    (run / "results.json").write_text(json.dumps(content))
    with pytest.raises(RequestError, match=r"results\.json is damaged"):
        write_leaderboard([run], out)
