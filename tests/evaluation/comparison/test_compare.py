import json
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from zsrobust.evaluation.comparison.paired import compare
from zsrobust.evaluation.comparison.seeds import aggregate_seeds
from zsrobust.evaluation.results import Results, Row
from zsrobust.utils.errors import RequestError

EPS = 1 / 255
ATTACK = {
    "name": "pgd-10",
    "threat": {"norm": "linf", "eps": EPS, "bounds": [0.0, 1.0]},
    "loss": "ce",
    "steps": 10,
    "step_size": 0.25 / 255,
    "random_start": True,
    "restarts": 1,
    "logit_scale": None,
    "seed": 0,
}
SIZES = {"birds": 400, "cats": 300, "dogs": 200}


def draw(clean, robust, seed, sizes=SIZES):
    """Outcomes of a model on each set: right on clean images, and under the attack."""
    random = np.random.default_rng(seed)
    outcomes = {}
    for name, n in sizes.items():
        right = random.random(n) < clean
        outcomes[name] = (right, right & (random.random(n) < robust / clean))
    return outcomes


@pytest.fixture
def write_run(tmp_path):
    """Writes a run folder of models given by name as (method, outcomes by set)."""

    def write(name, models, attack=ATTACK, resolution=96, seen=(), shuffle=0, **data):
        rows, tables = [], []
        protocol = {
            "robust": "right before and after",
            "precision": "fp32",
            "attacks": [attack],
            "models": {},
            "data": {},
        }
        for model, (method, outcomes) in models.items():
            protocol["models"][model] = {
                "source": "ViT-B-32/openai",
                "method": method,
                "weights": model,
                "logit_scale": 100.0,
                "preprocessing": {"protocol": "clip"},
                "seen": list(seen),
                "recipe": "" if method == "original" else f"recipe of {method}",
            }
            for dataset, (clean, robust) in outcomes.items():
                settings = protocol["data"].setdefault(dataset, {"class_names": ["a", "b"], **data})
                settings[f"under {model}"] = {"loader_resize": "clip", "templates": ["a {}"]}
                n = len(clean)
                row = Row.counted(
                    dataset=dataset,
                    split="test",
                    model=model,
                    method=method,
                    seen=dataset in seen,
                    resolution=resolution,
                    attack=attack["name"],
                    norm="linf",
                    eps=EPS,
                    key=f"{name} {model} {dataset}",
                    n=n,
                    clean=int(clean.sum()),
                    robust=int(robust.sum()),
                )
                rows.append(row)
                order = np.random.default_rng(shuffle).permutation(n)
                labels = np.arange(n) % 2
                same = {
                    key: getattr(row, key)
                    for key in ("model", "dataset", "split", "attack", "eps", "key")
                }
                table = {key: [value] * n for key, value in same.items()}
                table["sample_id"] = [f"{i:03}.png" for i in order]
                table["label"] = labels[order]
                table["clean_prediction"] = np.where(clean, labels, 1 - labels)[order]
                table["adversarial_prediction"] = np.where(robust, labels, 1 - labels)[order]
                tables.append(pa.table(table))
        folder = tmp_path / name
        folder.mkdir()
        Results(protocol, {}, rows).write(folder / "results.json")
        pq.write_table(pa.concat_tables(tables), folder / "outcomes.parquet")
        return folder

    return write


def lines_of(pair):
    return {(line.dataset, line.condition): line for line in pair.lines}


def test_every_model_is_compared_with_every_later_one(write_run):
    models = {
        "clip": ("original", draw(0.6, 0.01, 0)),
        "tecoa": ("tecoa", draw(0.45, 0.2, 1)),
        "pmg": ("pmg_aft", draw(0.45, 0.3, 2)),
    }
    pairs = compare(write_run("run", models)).pairs
    assert [(p.first, p.second) for p in pairs] == [
        ("clip", "tecoa"),
        ("clip", "pmg"),
        ("tecoa", "pmg"),
    ]
    line = lines_of(pairs[0])["birds", "pgd-10 1/255"]
    (_, first), (_, second) = models["clip"][1]["birds"], models["tecoa"][1]["birds"]
    assert line.n == 400
    assert line.difference.difference == pytest.approx(second.mean() - first.mean())
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    alone = {}
    for name in SIZES:
        a, b = models["clip"][1][name][1], models["tecoa"][1][name][1]
        alone[name] = binomtest(int((b & ~a).sum()), int((a ^ b).sum())).pvalue
    assert alone["birds"] == pytest.approx(binomtest(gained, gained + lost).pvalue)
    rank = sorted(alone.values()).index(alone["birds"])
    assert line.p >= alone["birds"] * (3 - rank)
    assert line.verdict == "real"


def test_averages_are_plain_means_over_all_sets_and_over_unseen_ones(write_run):
    models = {"clip": ("original", draw(0.6, 0.1, 0)), "pmg": ("pmg_aft", draw(0.4, 0.3, 2))}
    (pair,) = compare(write_run("run", models, seen=("cats",))).pairs
    lines = lines_of(pair)
    for average, sets in (("average of 3 all", SIZES), ("average of 2 unseen", ("birds", "dogs"))):
        for condition in ("clean", "pgd-10 1/255"):
            expected = np.mean([lines[name, condition].difference.difference for name in sets])
            assert lines[average, condition].difference.difference == pytest.approx(expected)
            assert lines[average, condition].n == sum(SIZES[name] for name in sets)
    assert lines["average of 3 all", "clean"].difference.second == pytest.approx(
        np.mean([models["pmg"][1][name][0].mean() for name in SIZES])
    )


def test_two_runs_compare_what_was_fine_tuned(write_run):
    clip = ("original", draw(0.6, 0.01, 0))
    one = write_run("one", {"clip": clip, "tecoa": ("tecoa", draw(0.5, 0.2, 1))})
    two = write_run("two", {"clip": clip, "pmg": ("pmg_aft", draw(0.5, 0.3, 2))}, shuffle=1)
    together = write_run(
        "both", {"tecoa": ("tecoa", draw(0.5, 0.2, 1)), "pmg": ("pmg_aft", draw(0.5, 0.3, 2))}
    )
    assert compare(one, two) == compare(together), "samples are paired by id, not by place"


def test_the_same_name_in_two_runs_is_made_unique(write_run):
    one = write_run("one", {"m": ("tecoa", draw(0.5, 0.2, 1))})
    two = write_run("two", {"m": ("tecoa", draw(0.5, 0.2, 2))})
    (pair,) = compare(one, two).pairs
    assert (pair.first, pair.second) == (f"m ({one})", f"m ({two})")


def test_a_model_that_has_collapsed_wins_nothing_under_attack(write_run):
    """On a set where it answers one class, and on an average over mostly such sets."""
    models = {"fare": ("fare", draw(0.5, 0.1, 1)), "tecoa": ("tecoa", draw(0.7, 0.4, 2))}
    folder = write_run("run", models)
    for on, average in ((("birds",), "real"), (("birds", "cats"), "collapsed")):
        results = Results.read(folder / "results.json")
        rows = [
            replace(row, chance_acc=0.5, top_class="a", top_predicted=1.0, top_labelled=0.5)
            if row.model == "tecoa" and row.dataset in on
            else row
            for row in results.rows
        ]
        replace(results, rows=rows).write(folder / "results.json")
        (pair,) = compare(folder).pairs
        attacked = {
            line.dataset: line.verdict for line in pair.lines if line.condition == "pgd-10 1/255"
        }
        expected = {name: "collapsed" if name in on else "real" for name in SIZES}
        assert attacked == {**expected, "average of 3 unseen": average}
        assert {line.verdict for line in pair.lines if line.condition == "clean"} == {"real"}
        assert any("tecoa predicts 'a' for 100.0%" in remark for remark in pair.remarks)


def test_a_model_does_not_differ_from_itself(write_run):
    models = {name: ("tecoa", draw(0.5, 0.2, 1)) for name in ("a", "b")}
    (pair,) = compare(write_run("run", models)).pairs
    assert {line.verdict for line in pair.lines} == {"not distinguishable"}
    assert all(line.difference.interval[0] < 0 < line.difference.interval[1] for line in pair.lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": {**ATTACK, "steps": 20}}, r"attack\.steps is 10 and 20"),
        ({"attack": {**ATTACK, "logit_scale": 1.0}}, r"attack\.logit_scale is None and 1\.0"),
        ({"resolution": 224}, "attack resolution is 96 and 224"),
        ({"class_names": ["a", "c"]}, r"class names\[1\] is b and c"),
        ({"class_names": ["a"]}, "the length of class names is 2 and 1"),
    ],
)
def test_other_protocols_are_refused_with_the_difference(write_run, change, message):
    one = write_run("one", {"a": ("tecoa", draw(0.5, 0.2, 1))})
    two = write_run("two", {"b": ("tecoa", draw(0.5, 0.2, 2))}, **change)
    with pytest.raises(RequestError, match=f"measured differently on birds: {message}"):
        compare(one, two)


def test_another_attack_seed_is_the_same_protocol(write_run):
    one = write_run("one", {"a": ("tecoa", draw(0.5, 0.2, 1))})
    two = write_run("two", {"b": ("tecoa", draw(0.5, 0.2, 2))}, attack={**ATTACK, "seed": 1})
    assert len(compare(one, two).pairs) == 1


def test_the_parts_of_an_ensemble_are_compared(write_run):
    parts = [{**ATTACK, "name": "pgd-10"}, {**ATTACK, "name": "cw-10"}]
    both = {"name": "pgd-10+cw-10", "threat": parts[0]["threat"], "parts": parts}
    one = write_run("one", {"a": ("tecoa", draw(0.5, 0.2, 1))}, attack=both)
    two = write_run("two", {"b": ("tecoa", draw(0.5, 0.2, 2))}, attack=both)
    assert ("birds", "pgd-10+cw-10 1/255") in lines_of(compare(one, two).pairs[0])
    other = {**both, "parts": [parts[0], {**parts[1], "steps": 20, "seed": 5}]}
    three = write_run("three", {"c": ("tecoa", draw(0.5, 0.2, 2))}, attack=other)
    with pytest.raises(RequestError, match=r"attack\.parts\[1\]\.steps is 10 and 20"):
        compare(one, three)


def test_other_samples_are_refused(write_run):
    one = write_run("one", {"a": ("tecoa", draw(0.5, 0.2, 1))})
    fewer = write_run("two", {"b": ("tecoa", draw(0.5, 0.2, 2, {"birds": 399}))})
    with pytest.raises(RequestError, match="samples is 400 and 399"):
        compare(one, fewer)
    table = pq.read_table(one / "outcomes.parquet").to_pydict()
    table["sample_id"][0] = "other.png"
    other = write_run("three", {"b": ("tecoa", draw(0.5, 0.2, 2))})
    keys = [key.replace("one a", "three b") for key in table["key"]]
    changed = {**table, "model": ["b"] * 900, "key": keys}
    pq.write_table(pa.table(changed), other / "outcomes.parquet")
    with pytest.raises(RequestError, match="other samples of birds: 2 samples"):
        compare(one, other)


def test_what_only_one_was_evaluated_on_is_left_out_and_named(write_run):
    one = write_run("one", {"a": ("tecoa", draw(0.5, 0.2, 1))})
    two = write_run("two", {"b": ("tecoa", draw(0.5, 0.2, 2, {"birds": 400}))})
    (pair,) = compare(one, two).pairs
    assert {line.dataset for line in pair.lines} == {"birds"}
    (remark,) = pair.remarks
    assert "cats (test) under pgd-10 1/255, dogs (test) under pgd-10 1/255" in remark
    three = write_run("three", {"c": ("tecoa", draw(0.5, 0.2, 2, {"fish": 10}))})
    with pytest.raises(RequestError, match=r"no data set and attack in common: birds.*fish"):
        compare(one, three)


def test_classifiers_that_differ_in_more_than_weights_are_remarked(write_run):
    folder = write_run("one", {n: ("tecoa", draw(0.5, 0.2, 1)) for n in ("a", "b")})
    content = json.loads((folder / "results.json").read_text())
    content["protocol"]["models"]["b"]["logit_scale"] = 1.0
    content["protocol"]["models"]["b"]["defence"] = {"name": "ttc"}
    content["protocol"]["data"]["cats"]["under b"]["templates"] = ["{}"]
    (folder / "results.json").write_text(json.dumps(content))
    (pair,) = compare(folder).pairs
    assert pair.remarks == [
        "their logit scale differs: 100.0 and 1.0",
        "their defence differs: none and {'name': 'ttc'}",
        "their prompts for cats differ: ['a {}'] and ['{}']",
    ]


def test_bad_runs_are_refused(write_run, tmp_path):
    folder = write_run("one", {"a": ("tecoa", draw(0.5, 0.2, 1))})
    with pytest.raises(RequestError, match="holds one model alone"):
        compare(folder)
    with pytest.raises(RequestError, match=r"has no results\.json"):
        compare(tmp_path)
    pq.write_table(pq.read_table(folder / "outcomes.parquet")[:-1], folder / "outcomes.parquet")
    with pytest.raises(RequestError, match=r"holds 199 samples of a on dogs, results\.json 200"):
        compare(folder, folder)
    (folder / "outcomes.parquet").write_text("")
    with pytest.raises(RequestError, match=r"outcomes\.parquet is missing or damaged"):
        compare(folder, folder)


def test_a_comparison_is_json(write_run):
    models = {"clip": ("original", draw(0.6, 0.01, 0)), "pmg": ("pmg_aft", draw(0.5, 0.3, 2))}
    content = json.loads(json.dumps(compare(write_run("run", models)).as_dict()))
    line = content["pairs"][0]["lines"][0]
    assert line["difference"] == pytest.approx(line["second"] - line["first"])
    assert line["interval"][0] <= line["difference"] <= line["interval"][1]


def test_lines_come_set_by_set_and_averages_last(write_run):
    models = {"clip": ("original", draw(0.6, 0.01, 0)), "pmg": ("pmg_aft", draw(0.5, 0.3, 2))}
    names = [line.dataset for line in compare(write_run("run", models)).pairs[0].lines]
    changes = [b for a, b in pairwise(["", *names]) if a != b]
    # No set was seen: the average over all would be the same again.
    assert changes == [*SIZES, "average of 3 unseen"]


def read(folder):
    return Results.read(folder / "results.json")


def test_seeds_are_aggregated_and_the_shared_original_counts_once(write_run):
    clip = ("original", draw(0.6, 0.1, 9))
    outcomes = [draw(0.5, 0.3, seed) for seed in range(3)]
    runs = [
        read(write_run(f"run {seed}", {"clip": clip, f"pmg {seed}": ("pmg_aft", outcomes[seed])}))
        for seed in range(3)
    ]
    found = {(x.method, x.dataset): x for x in aggregate_seeds(runs)}
    assert set(found) == {(m, d) for m in ("original", "pmg_aft") for d in (*SIZES, "average of 3")}
    assert found["original", "cats"].seeds == 1
    assert np.isnan(found["original", "cats"].robust.deviation)
    values = [np.mean([robust.mean() for _, robust in o.values()]) for o in outcomes]
    average = found["pmg_aft", "average of 3"]
    assert average.seeds == 3
    assert average.robust.mean == pytest.approx(np.mean(values))
    assert average.robust.deviation == pytest.approx(np.std(values) * np.sqrt(3 / 2))
    assert average.clean.interval[0] < average.clean.mean < average.clean.interval[1]


def test_an_original_that_sees_images_in_two_ways_is_two(write_run):
    """As ``reproduce paper`` evaluates it, for recipes of both ways."""
    one = read(write_run("one", {"clip": ("original", draw(0.6, 0.1, 9))}))
    other = deepcopy(one)
    for about in other.protocol["data"].values():
        about["under clip"]["loader_resize"] = "authors_code"
    found = aggregate_seeds([one, other])
    assert [x.seeds for x in found if x.dataset == "cats"] == [1, 1]
    assert len(aggregate_seeds([one, deepcopy(one)])) == len(found) // 2


def test_runs_of_different_recipes_are_no_seeds_of_each_other(write_run):
    one = read(write_run("one", {"a": ("pmg_aft", draw(0.5, 0.3, 0))}))
    other = deepcopy(one)
    other.protocol["models"]["a"].update(weights="others", recipe="larger eps")
    assert {found.seeds for found in aggregate_seeds([one, other])} == {1}
    unknown = deepcopy(one)
    unknown.protocol["models"]["a"].update(weights="others", recipe="")
    assert {found.seeds for found in aggregate_seeds([one, unknown])} == {1}


def test_seeds_measured_differently_are_refused(write_run):
    one = read(write_run("one", {"a": ("pmg_aft", draw(0.5, 0.3, 0))}))
    two = deepcopy(one)
    two.protocol["models"]["a"]["weights"] = "others"
    two.protocol["attacks"][0]["steps"] = 20
    with pytest.raises(RequestError, match=r"attack\.steps is 10 and 20"):
        aggregate_seeds([one, two])
    fewer = deepcopy(one)
    fewer.protocol["models"]["a"]["weights"] = "others"
    del fewer.rows[0]
    with pytest.raises(RequestError, match="birds test is in one alone"):
        aggregate_seeds([one, fewer])
