"""Models with a test-time defence: their baselines, what their attacks knew, and their keys."""

import json
from pathlib import Path

import pytest

from zsrobust.config.schema import FinetuneConfig
from zsrobust.evaluation import cell as cell_module
from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.results import Results, Row, failed
from zsrobust.reporting.tables import accuracy_table
from zsrobust.training.finetune import finetune
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow


@pytest.fixture
def asked(config, sets):
    """An evaluation of one set at one radius."""

    def make(*models, **changes):
        return config(model=list(models), data=sets[:1], eps=[Eps("4/255")], **changes)

    return make


def test_the_undefended_model_and_its_original_come_first(asked, tuned, small_clip):
    name = f"ttc({tuned})"
    results = evaluate(asked(name))
    assert [row.model for row in results.rows] == [small_clip, tuned, name]
    methods = ["original", "pmg_aft[paper]", "ttc(pmg_aft[paper])"]
    assert [row.method for row in results.rows] == methods
    assert [row.seen for row in results.rows] == [False, True, True]
    models = results.protocol["models"]
    assert ["defence" in models[row.model] for row in results.rows] == [False, False, True]
    assert models[name]["defence"]["tau"] == 0.2
    assert models[name]["weights"] == models[tuned]["weights"]
    alone = evaluate(asked(name, baseline=False, out=str(Path(asked(name).out) / "../alone")))
    assert [row.model for row in alone.rows] == [name]
    assert alone.rows[0].robust_acc == results.rows[2].robust_acc


def test_a_requested_model_stays_in_its_place(asked, small_clip):
    results = evaluate(asked(f"ttc({small_clip})", small_clip))
    assert [row.model for row in results.rows] == [f"ttc({small_clip})", small_clip]


def test_rows_say_which_attack_knew_of_the_defence(asked, small_clip):
    defended = f"ttc({small_clip}, tau=inf)"
    around, through = f"transfer(pgd-3, {small_clip})", f"transfer(pgd-3, {defended})"
    results = evaluate(asked(defended, attack=["pgd-3", around, through, "noise-2"]))
    adaptive = {(row.model, row.attack): row.adaptive for row in results.rows}
    assert [key for key, value in adaptive.items() if not value] == [(defended, around)]
    assert {(a.model, a.attack) for a in results.averages if not a.adaptive} == {(defended, around)}
    read = Results.read(Path(asked(defended).out) / "results.json")
    assert [row.adaptive for row in read.rows] == [row.adaptive for row in results.rows]
    by_attack = {row.attack: row for row in results.rows if row.model == defended}
    assert by_attack["pgd-3"].robust_acc == by_attack[through].robust_acc, "the same images"
    table = accuracy_table(results)
    marked = [(line[1], line[3].endswith("†")) for group in table.groups for line in group]
    assert {condition for condition, mark in marked if mark} == {f"{around} 4/255"}
    assert not any(line[2].endswith("†") for group in table.groups for line in group)
    words = f"images of {around} were made without the test-time defence of {defended}"
    assert [note for note in table.notes if note.startswith("† not adaptive") and words in note]


def test_another_defence_is_another_key(asked, small_clip, monkeypatch):
    names = [small_clip, *(f"ttc({small_clip}{more})" for more in ("", ", tau=inf", ", seed=1"))]
    surrogates = [f"transfer(pgd-3, {name})" for name in names[1:3]]
    results = evaluate(asked(*names, attack=["pgd-3", *surrogates], baseline=False))
    keys = {(row.model, row.attack): row.key for row in results.rows}
    assert len(set(keys.values())) == 12
    # The same again under the same names is answered from disk, another parameter is not.
    monkeypatch.setattr(cell_module.Cell, "attacked", None)
    again = evaluate(asked(*names, attack=["pgd-3", *surrogates], baseline=False))
    assert [row.key for row in again.rows] == [row.key for row in results.rows]


def test_the_surrogates_defence_is_in_the_result(asked, small_clip):
    name = f"transfer(pgd-3, ttc({small_clip}, beta=1))"
    results = evaluate(asked(small_clip, attack=[name]))
    described = json.loads((Path(asked(small_clip).out) / "results.json").read_text())
    assert described["protocol"]["attacks"][0]["surrogate"]["defence"]["beta"] == 1.0
    assert results.rows[0].adaptive, "the model under test has no defence"


def test_fine_tuning_starts_from_no_defended_model(sets, small_clip, tmp_path):
    config = FinetuneConfig(
        model=f"ttc({small_clip})", data=sets[0], out=str(tmp_path / "run"), device="cpu"
    )
    with pytest.raises(RequestError, match="which fine-tuning cannot take along: name local-dir"):
        finetune(config)
    assert not list((tmp_path / "run").glob("*.yaml"))


def row(attack, robust, model="ttc(clip)", **rest):
    words = {"dataset": "birds", "split": "test", "method": "ttc(original)", "key": "k"}
    facts = {"seen": False, "resolution": 64, "norm": "linf", "eps": 1 / 255, "n": 1000}
    words |= {"attack": attack, "model": model}
    return Row.counted(clean=800, robust=robust, **words, **facts, **rest)


def checks(*rows):
    found = diagnose(Results({}, {}, list(rows)))
    return {finding.check: finding.passed for finding in found}


AROUND = {"attack": "transfer(pgd-10, clip)", "adaptive": False}


def test_a_missing_adaptive_attack_is_reported():
    assert checks(row(**AROUND, robust=500)) == {"defence is attacked": False}
    noise = row("noise-10", 790)
    assert checks(row(**AROUND, robust=500), noise)["defence is attacked"] is False
    (found,) = failed(diagnose(Results({}, {}, [row(**AROUND, robust=500), noise])))
    assert "ttc(clip): every image was made without" in found.sentence
    assert found.figures == {"without_adaptive_attack": 1, "of": 1}
    through = row("pgd-10", 400)
    assert checks(row(**AROUND, robust=500), through) == {
        "defence is attacked": True,
        "adaptive attack finds more": True,
    }
    assert checks(through) == {}, "no images were made without the defence"
    undefended = row("transfer(pgd-10, clip)", 500, model="tecoa")
    assert checks(undefended) == {}


@pytest.mark.parametrize(("standing", "fine"), [(505, True), (506, False)])
def test_a_weaker_adaptive_attack_is_reported(standing, fine):
    rows = [row(**AROUND, robust=500), row("pgd-10", standing), row("pgd-40", 700)]
    assert checks(*rows)["adaptive attack finds more"] is fine
    if not fine:
        (found,) = failed(diagnose(Results({}, {}, rows)))
        assert found.figures == {"adaptive": 0.506, "not_adaptive": 0.5}
