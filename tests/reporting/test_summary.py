from dataclasses import replace

from zsrobust.evaluation.results import Results, Row
from zsrobust.reporting.summary import summary_table


def row(dataset, model, method, seen, n, clean, robust, attack="pgd-10"):
    return Row.counted(
        **{"dataset": dataset, "split": "test", "model": model, "method": method, "seen": seen},
        **{"resolution": 32, "attack": attack, "norm": "linf", "eps": 1 / 255, "key": ""},
        **{"n": n, "clean": clean, "robust": robust},
    )


def test_both_averages_of_every_method_with_the_samples_behind_them():
    rows = [
        row("tiny", "clip", "original", False, 200, 160, 0),
        row("birds", "clip", "original", False, 100, 60, 0),
        row("tiny", "run", "pmg_aft[paper]", True, 200, 150, 90),
        row("birds", "run", "pmg_aft[paper]", False, 100, 50, 20),
    ]
    table = summary_table(Results({}, {}, rows))
    assert table.columns == ["data set", "model", "n", "clean", "pgd-10 1/255"]
    lines = [line for group in table.groups for line in group]
    assert [line[:3] for line in lines] == [
        ["average of 2 all", "original", "300"],
        ["average of 2 all", "PMG-AFT", "300"],
        ["average of 1 unseen", "original", "100"],
        ["average of 1 unseen", "PMG-AFT", "100"],
    ]
    assert lines[1][3].startswith("62.5 (")
    # Wilson's interval of 20 of 100 by the formula.
    assert lines[3][4] == "20.0 (13.3-28.9)"
    (alone,) = summary_table(Results({}, {}, rows[1:2])).groups
    assert [line[0] for line in alone] == ["birds"]


def test_seeds_are_averaged_and_one_without_an_attack_leaves_its_place_empty():
    rows = [row("birds", name, "tecoa", False, 100, 50, k) for name, k in (("a", 20), ("b", 30))]
    rows.append(row("birds", "clip", "original", False, 100, 50, 0))
    rows.append(replace(rows[2], attack="square"))
    models = {"a": "same", "b": "same", "clip": ""}
    protocol = {"models": {m: {"source": "clip", "recipe": r} for m, r in models.items()}}
    table = summary_table(Results(protocol, {}, rows))
    lines = {line[1]: line for line in table.groups[0]}
    assert lines["TeCoA, 2 seeds"][4].startswith("25.0 (")
    assert lines["TeCoA, 2 seeds"][5] == "-"
    assert lines["original"][5].startswith("0.0 (")


def test_an_attack_on_fewer_sets_shows_its_samples():
    rows = [row(name, "clip", "original", False, 100, 50, 10) for name in ("two", "ten")]
    rows.append(replace(rows[1], attack="apgd-t", robust_acc=0.02, ci95_robust=(0.01, 0.03)))
    (group,) = summary_table(Results({}, {}, rows)).groups
    line = group[0]
    assert line[0] == "average of 2 unseen"
    assert line[5] == "2.0 (1.0-3.0) [n 100]"
