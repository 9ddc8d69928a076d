import json
from itertools import product
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zsrobust.bundle.archive import pack, unpack
from zsrobust.bundle.claims import unpublished
from zsrobust.bundle.create import write_bundle
from zsrobust.bundle.verify import verify
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.utils.errors import RequestError

ROWS, SAMPLES = 4, 40
UNNEEDED = ("probes", "findings", "sampling", "after_part", "attacks")
"""What may be empty: attacks of a data set are then those of the protocol."""


def found(content):
    return verify(unpack(content, "FILE"))


def contradictions(content):
    """What is wrong, be it a contradiction or a file that no evaluation writes."""
    try:
        wrong = found(content).contradictions
    except RequestError as error:
        wrong = [str(error)]
    assert not any("\n" in sentence for sentence in wrong)
    return wrong


def numbers(value, path=()):
    """The paths of all numbers and texts in a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from numbers(item, (*path, at))
    else:
        yield path


def put(value, path, change):
    for key in path[:-1]:
        value = value[key]
    before, value[path[-1]] = value[path[-1]], change(value[path[-1]])
    assume(value[path[-1]] != before)


def test_a_sound_bundle_agrees(bundle):
    verified = found(bundle)
    assert verified.contradictions == []
    assert verified.unfit == []
    assert any("4 rows and 160 outcomes" in one for one in verified.checked)
    assert any("40 of the 10000 images of CIFAR-10" in one for one in verified.unchecked)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_changed_figure_is_found(data, bundle, repacked):
    """Of rows, averages and findings; with the hashes renewed, as by somebody who knows them."""
    archive = unpack(bundle, "FILE")
    content = json.loads(archive.results)
    paths = [
        path
        for path in numbers(content)
        if path[0] in ("results", "averages") or path[:1] + path[2:3] == ("findings", "figures")
    ]
    # The model alone says what share of its gradient is zero.
    path = data.draw(st.sampled_from([p for p in paths if p[2] != "zero_gradients"]))
    factor = data.draw(st.floats(0.5, 2).filter(lambda one: abs(one - 1) > 1e-6))

    def change(value):
        if isinstance(value, bool):
            return not value
        if isinstance(value, str):
            return f"{value}x"
        if isinstance(value, int):
            return value + 1
        return value * factor if value else factor

    changed = repacked(bundle, results=lambda plain: put(plain, path, change))
    assert contradictions(changed), path


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_changed_outcome_is_found(data, bundle, repacked):
    name = data.draw(
        st.sampled_from(
            [
                *("model", "dataset", "split", "attack", "eps", "key", "sample_id", "label"),
                *("clean_prediction", "clean_loss", "clean_margin", "fell_to"),
                *("stratum", "drawn_parts"),
            ]
        )
    )
    at = data.draw(st.integers(0, ROWS * SAMPLES - 1))

    def change(table):
        column = table[name].to_pylist()
        before = column[at]
        if isinstance(before, str):
            column[at] = data.draw(st.sampled_from(["", "clean", "square", "other", *column]))
        elif isinstance(before, float):
            column[at] = before + data.draw(st.sampled_from([-5, -0.1, 1e-6, 3.0]))
        elif before is None:
            column[at] = 1
        else:
            column[at] = data.draw(st.integers(-1, 10))
        assume(column[at] != before)
        where = table.column_names.index(name)
        return table.set_column(where, name, pa.array(column, table.schema.field(name).type))

    assert contradictions(repacked(bundle, outcomes=change)), (name, at)


@pytest.mark.parametrize("stands", [True, False])
def test_a_sample_that_is_made_to_stand_or_fall_is_found(stands, bundle, repacked):
    def change(table):
        lines = table.to_pylist()
        of_attack = [one for one in lines if one["attack"] == "autoattack"]
        line = next(one for one in of_attack if one["fell_to"] == ("apgd-ce" if stands else ""))
        other = line["label"] if stands else (line["label"] + 1) % 10
        line |= {"adversarial_prediction": other, "fell_to": "" if stands else "apgd-ce"}
        line["adversarial_margin"], line["adversarial_loss"] = (2.0, 0.2) if stands else (-2.0, 2.3)
        return pa.Table.from_pylist(lines, table.schema)

    wrong = contradictions(repacked(bundle, outcomes=change))
    assert any("robust_acc" in one for one in wrong)
    assert all(one.startswith(("clip on cifar10", "the average of clip")) for one in wrong[:1])


def test_outcomes_of_no_row_and_rows_of_no_outcomes_are_found(bundle, repacked):
    def further(table):
        first = table.slice(0, 40)
        other = pa.array(["another"] * 40)
        return pa.concat_tables([table, first.set_column(0, "model", other)])

    assert "holds 200 outcomes" in contradictions(repacked(bundle, outcomes=further))[0]
    moved = repacked(
        bundle,
        outcomes=lambda table: table.set_column(
            0, "model", pc.replace_substring(table["model"], "runs/tecoa", "clip")
        ),
    )
    assert any("the outcomes are of 0" in one for one in contradictions(moved))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["data"]["cifar10"].update(n=41), "n 40, the protocol 41"),
        (lambda p: p["data"]["cifar10"].update(split="train"), "the row says split"),
        (lambda p: p["data"]["cifar10"]["class_names"].pop(), "none of 9 classes"),
        (lambda p: p["data"]["cifar10"]["class_names"].append("x"), "11 classes, CIFAR-10 10"),
        (lambda p: p["models"]["runs/tecoa"].update(seen=["cifar10"]), "the row says seen False"),
        (lambda p: p["models"]["runs/tecoa"].update(weights="f" * 16), "models of the manifest"),
        (lambda p: p["models"].update(third=p["models"]["clip"]), "no row is of it"),
        (lambda p: p.update(seed=3), "request has seed 0"),
        (
            lambda p: p["data"]["cifar10"]["attacks"][1]["parts"][0].update(n_iter=5),
            "apgd-ce has n_iter 5, and the published attack 100",
        ),
        (
            lambda p: p["data"]["cifar10"]["attacks"][1]["parts"].pop(),
            "autoattack on cifar10 is apgd-ce+apgd-t+fab-t, and not",
        ),
    ],
)
def test_a_protocol_that_does_not_fit_is_named(change, said, bundle, repacked):
    changed = repacked(bundle, results=lambda plain: change(plain["protocol"]))
    assert any(said in one for one in contradictions(changed)), contradictions(changed)


def test_a_part_of_a_published_set_is_not_for_a_leaderboard(bundle, repacked):
    part = repacked(
        bundle,
        results=lambda plain: plain["protocol"].update(samples=None),
        request=lambda plain: plain.update(samples=None),
    )
    verified = found(part)
    assert verified.contradictions == []
    assert verified.unfit == ["cifar10 is 40 of the 10000 images of CIFAR-10's split test"]


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (9, ("unfit", "part is 9 of the 10 classes of CIFAR-10")),
        (11, ("contradiction", "part has 11 classes, CIFAR-10 10")),
    ],
)
def test_some_classes_of_a_published_set_are_a_part_of_it(classes, said):
    of = {"origin": "cifar10", "split": "test", "n": 10_000, "skipped": 0}
    data = {"part": {**of, "class_names": list("abcdefghijk")[:classes]}}
    results = SimpleNamespace(protocol={"data": data, "samples": None})
    assert list(unpublished(results)) == [said]


def written(run, out):
    return write_bundle(EvaluatedRun.read(run), out)


def test_a_folder_of_the_name_of_a_published_set_is_not_taken_for_it(bundle, repacked):
    archive = unpack(bundle, "FILE")
    table = pq.read_table(pa.BufferReader(archive.outcomes))
    content = json.loads(archive.results)
    content["protocol"]["data"]["cifar10"].update(split="all")
    for row in content["results"]:
        row["split"] = "all"
    sink = pa.BufferOutputStream()
    splits = pa.array(["all"] * len(table))
    pq.write_table(table.set_column(2, "split", splits), sink)
    manifest = {**archive.manifest, "data": {"cifar10": {**archive.manifest["data"]["cifar10"]}}}
    manifest["data"]["cifar10"]["split"] = "all"
    packed = pack(manifest, json.dumps(content).encode(), sink.getvalue().to_pybytes())
    verified = found(packed)
    assert verified.contradictions == []
    assert any("not of a published split of CIFAR-10" in one for one in verified.unchecked)


def test_a_failure_of_the_diagnostics_stays_a_warning_and_cannot_be_left_out(
    made_run, tmp_path, repacked
):
    run = made_run(tmp_path / "run", models={"strong": "original"})
    (warning,) = written(run, tmp_path / "run.zip").warnings
    assert warning.startswith("strong on cifar10 (n 40) at 1/255: the undefended model keeps")
    content = (tmp_path / "run.zip").read_bytes()

    def hidden(plain):
        plain["findings"] = [one for one in plain["findings"] if one["passed"]]

    wrong = contradictions(repacked(content, results=hidden))
    assert wrong == ["the check 'undefended falls' fails 1 times, and the results name 0 failures"]


def test_an_ensemble_that_leaves_more_than_its_part_is_refused(made_run, tmp_path):
    # The later attack of a made run is the stronger one.
    run = made_run(tmp_path / "run", attacks=("apgd-ce+apgd-t", "apgd-ce"))
    with pytest.raises(RequestError, match="samples stand the ensemble that fall to its part"):
        written(run, tmp_path / "run.zip")
    assert not (tmp_path / "run.zip").exists()


def test_an_attack_that_does_not_suffice_is_named(made_run, tmp_path):
    weak = written(made_run(tmp_path / "run", attacks=("pgd-10",)), tmp_path / "run.zip").unfit
    assert [one.split(" at ")[0] for one in weak] == ["clip", "runs/tecoa"]
    both = made_run(tmp_path / "both", attacks=("pgd-10", "pgd-10+autoattack"))
    assert written(both, tmp_path / "both.zip").unfit == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["results", "outcomes"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_broken_files_under_the_right_hash_are_refused_in_a_sentence(name, data, bundle):
    archive = unpack(bundle, "FILE")
    files = {"results": archive.results, "outcomes": archive.outcomes}
    changed = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.sampled_from([0, 1, 4]))] = data.draw(st.binary(max_size=4))
    # Some bytes, such as the writer's version, say nothing of an outcome.
    contradictions(pack(archive.manifest, **{**files, name: bytes(changed)}))


def test_a_table_that_expands_is_refused_unread(bundle):
    archive = unpack(bundle, "FILE")
    table = pq.read_table(pa.BufferReader(archive.outcomes))

    def refused(table, **options):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        return found(pack(archive.manifest, archive.results, sink.getvalue().to_pybytes()))

    line = table.slice(0, 1)
    million = pa.table(
        {name: pa.repeat(line[name][0], 100_000) for name in table.column_names},
        schema=table.schema,
    )
    with pytest.raises(RequestError, match="holds 100000 outcomes, and the rows count 160"):
        refused(million)
    with pytest.raises(RequestError, match="compressed in another way"):
        refused(table, compression="zstd")
    where = table.column_names.index("sample_id")
    ids = ["x" * (8 << 20), *table["sample_id"].to_pylist()[1:]]
    long = table.set_column(where, "sample_id", pa.array(ids))
    with pytest.raises(RequestError, match="holds a sample_id of 8388608 bytes"):
        refused(long)
    with pytest.raises(RequestError, match="other columns"):
        refused(table.drop_columns(["key"]))
    with pytest.raises(RequestError, match="is damaged"):
        found(pack(archive.manifest, archive.results, b"PAR1" * 20))


@pytest.mark.parametrize(
    ("path", "value"),
    list(
        product(
            [
                ("schema",),
                ("protocol",),
                ("protocol", "models"),
                ("protocol", "data", "cifar10", "class_names"),
                ("protocol", "data", "cifar10", "attacks"),
                ("results",),
                ("results", 0),
                ("results", 0, "eps"),
                ("results", 0, "n"),
                ("results", 0, "after_part"),
                ("results", 0, "sampling"),
                ("averages",),
                ("findings",),
                ("probes",),
            ],
            [None, -1, 1e999, "x", [], {}, [[]], [None], {"a": 1}],
        )
    ),
)
def test_values_of_other_types_are_refused_in_a_sentence(path, value, bundle, repacked):
    def change(plain):
        for key in path[:-1]:
            plain = plain[key]
        plain[path[-1]] = value

    same = value in ([], {}, None) and path[-1] in UNNEEDED
    assert contradictions(repacked(bundle, results=change)) or same
