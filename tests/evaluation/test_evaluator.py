import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.evaluation import cell as cell_module
from zsrobust.evaluation.checks import sanity as sanity_module
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.measurement import Measurement
from zsrobust.evaluation.results import Finding, Results
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.reporting.findings import sanity_page, warnings
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import sha256_of
from zsrobust.utils.units import Eps


def by_hand(model, folder, eps):
    """Clean and robust counts of one set from pixels read with Pillow, all samples attacked."""
    paths = sorted(Path(folder).rglob("*.png"))
    names = sorted({path.parent.name for path in paths})
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([names.index(path.parent.name) for path in paths])
    ids = [path.relative_to(folder).as_posix() for path in paths]
    classifier = model.classifier(names)
    attacked = PGD(ThreatModel(eps=float(eps)), steps=3)(classifier, images, labels, ids)
    clean = classifier(images).argmax(-1) == labels
    after = classifier(attacked).argmax(-1) == labels
    return int(clean.sum()), int((clean & after).sum()), len(labels)


def test_counts_equal_a_plain_evaluation_in_one_batch(config, sets, small_clip):
    results = evaluate(config(batch_size=1))
    assert len(results.rows) == 4
    fallen = 0
    for row in results.rows:
        folder = next(spec for spec in sets if spec.endswith(row.dataset)).split(":")[1]
        clean, robust, n = by_hand(load(small_clip), folder, row.eps)
        assert (row.n, row.clean_acc, row.robust_acc) == (n, clean / n, robust / n)
        assert row.ci95_robust[0] <= row.robust_acc <= row.ci95_robust[1]
        fallen += clean - robust
    assert fallen > 0


def test_files_hold_what_was_counted(config):
    settings = config()
    results = evaluate(settings)
    out = Path(settings.out)
    read = Results.read(out / "results.json")
    assert read.protocol == json.loads(json.dumps(results.protocol))
    assert read.environment == results.environment
    assert [row.key for row in read.rows] == [row.key for row in results.rows]
    assert read.findings == results.findings
    checks = [finding.check for finding in read.findings]
    assert checks == ["falls with eps", "gradients are there", "steps fit the radius"]
    assert all(0 <= row.zero_gradients < 0.1 for row in read.rows)
    table = pq.read_table(out / "outcomes.parquet").to_pylist()
    assert len(table) == sum(row.n for row in results.rows)
    for row in results.rows:
        mine = [line for line in table if (line["dataset"], line["eps"]) == (row.dataset, row.eps)]
        clean = [line["clean_prediction"] == line["label"] for line in mine]
        after = [line["adversarial_prediction"] == line["label"] for line in mine]
        assert row.clean_acc == sum(clean) / len(mine)
        assert row.robust_acc == sum(a and b for a, b in zip(clean, after, strict=True)) / len(mine)
        for line, right in zip(mine, clean, strict=True):
            if not right:
                assert line["adversarial_loss"] == line["clean_loss"], "wrong before: not attacked"
    content = json.loads((out / "results.json").read_text())
    assert content["schema"] == 1
    attack = content["protocol"]["attacks"][0]
    assert attack["name"] == "pgd-3"
    assert attack["threat"]["eps"] == pytest.approx(2 / 255)
    assert not (out / "parts").exists()


def test_the_undefended_original_is_in_every_table(config, tuned, small_clip):
    results = evaluate(config(model=[tuned], eps=[Eps("2/255")]))
    assert [row.model for row in results.rows] == 2 * [small_clip] + 2 * [tuned]
    assert {row.method for row in results.rows} == {"original", "pmg_aft[paper]"}
    alone = config(
        model=[tuned], baseline=False, eps=[Eps("2/255")], out=str(Path(tuned) / "../alone")
    )
    assert {row.model for row in evaluate(alone).rows} == {tuned}


def test_both_averages_are_over_the_same_sets_for_every_model(config, tuned):
    results = evaluate(config(model=[tuned]))
    assert {(row.model == tuned, row.dataset) for row in results.rows if row.seen} == {
        (True, "one")
    }
    for average in results.averages:
        names = {"one", "two"} if average.over == "all" else {"two"}
        rows = [
            row
            for row in results.rows
            if (row.model, row.eps) == (average.model, average.eps) and row.dataset in names
        ]
        assert average.datasets == len(names) == len(rows)
        assert average.robust_acc == pytest.approx(sum(r.robust_acc for r in rows) / len(rows))
    assert {(a.over, a.model == tuned) for a in results.averages} == {
        (over, which) for over in ("all", "unseen") for which in (True, False)
    }


def test_it_resumes_from_the_last_finished_chunk(config, monkeypatch):
    whole = evaluate(config(out=str(Path(config().out).with_name("whole"))))
    monkeypatch.setattr(cell_module, "CHUNK", 4)
    attacked, calls = Measurement.attacked, []

    def failing(self, *given):
        calls.append(given)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return attacked(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Measurement, "attacked", failing)
        with pytest.raises(KeyboardInterrupt):
            evaluate(config())
    calls.clear()
    monkeypatch.setattr(
        Measurement,
        "attacked",
        lambda *a: calls.append(1) or attacked(*a),
    )
    again = evaluate(config())
    # Chunks of 4 make 2 of one's 6 samples and 3 of two's 9: 10 in all at two radii, 5 done.
    assert len(calls) == 5
    assert [(r.dataset, r.eps, r.robust_acc) for r in again.rows] == [
        (r.dataset, r.eps, r.robust_acc) for r in whole.rows
    ]
    evaluate(config())
    assert len(calls) == 5, "an unchanged evaluation is answered from its files"


@pytest.fixture
def small(config, sets):
    """One set, one radius, one step."""
    return partial(config, data=sets[:1], eps=[Eps("2/255")], attack=["pgd-1"])


def test_what_is_evaluated_is_not_evaluated_again_on_another_processor(
    small, another_processor, monkeypatch
):
    before = evaluate(small())
    another_processor()
    monkeypatch.setattr(Measurement, "attacked", lambda *_: pytest.fail("attacked"))
    assert [row.key for row in evaluate(small()).rows] == [row.key for row in before.rows]


def test_other_prompts_are_evaluated_anew(small):
    before = evaluate(small())
    after = evaluate(small(templates=["{} there."], out=f"{small().out}-2"))
    assert {row.key for row in before.rows}.isdisjoint(row.key for row in after.rows)


def test_changed_weights_are_evaluated_anew(small, tuned):
    settings = small(model=[tuned], baseline=False)
    before = evaluate(settings)
    path = Path(tuned) / "model.safetensors"
    tensors = {name: -value for name, value in load_file(path).items()}
    save_file(tensors, path)
    card = Path(tuned) / "model.json"
    content = json.loads(card.read_text())
    card.write_text(json.dumps({**content, "sha256": sha256_of(path)}))
    after = evaluate(settings)
    assert {row.key for row in before.rows}.isdisjoint(row.key for row in after.rows)


def test_changed_images_are_evaluated_anew(config, tmp_path):
    settings = config(eps=[Eps("2/255")], attack=["pgd-1"])
    before = evaluate(settings)
    path = next((tmp_path / "one").rglob("*.png"))
    Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    keys = {row.dataset: row.key for row in before.rows}
    after = {row.dataset: row.key for row in evaluate(settings).rows}
    assert keys["one"] != after["one"]
    assert keys["two"] == after["two"]


def test_a_set_is_seen_by_place_as_well_as_by_name(config, tuned, tmp_path):
    specs = [f"imagefolder:{tmp_path / 'one'},name=other", f"imagefolder:{tmp_path / 'two'}"]
    model = load(tuned)
    place = frozenset({str((tmp_path / "one").resolve())})
    save_model(tmp_path / "placed", replace(model, seen=place), "tecoa")
    results = evaluate(config(model=[str(tmp_path / "placed")], data=specs, baseline=False))
    assert {row.dataset: row.seen for row in results.rows} == {"other": True, "two": False}


def test_each_model_has_the_original_under_its_own_protocol(small, tuned, small_clip, tmp_path):
    script = load(tuned, preprocessing="authors_code")
    save_model(tmp_path / "script", script, "pmg_aft[authors_code]")
    results = evaluate(small(model=[tuned, str(tmp_path / "script")]))
    protocols = {
        name: settings["preprocessing"]["protocol"]
        for name, settings in results.protocol["models"].items()
    }
    assert protocols == {
        small_clip: "clip",
        tuned: "clip",
        f"{small_clip} (as {tmp_path / 'script'})": "authors_code",
        str(tmp_path / "script"): "authors_code",
    }


def test_a_model_is_evaluated_as_it_was_trained(small, tuned, tmp_path):
    model = replace(load(tuned), loader_resize="authors_code", default_templates=("one {}",))
    save_model(tmp_path / "special", model, "tecoa")
    settings = small(model=[str(tmp_path / "special")], baseline=False)
    row = next(iter(evaluate(settings).protocol["data"].values()))[f"under {settings.model[0]}"]
    assert (row["loader_resize"], row["templates"]) == ("authors_code", ["one {}"])


def test_sanity_checks_are_cached(config, monkeypatch):
    given = []

    def checks(classifier, images, labels, sample_ids, threat, *, seed):
        given.append((len(images), len(set(sample_ids)), threat.eps))
        if len(images) < 3:
            raise RequestError("too few")
        return [Finding("softmax range", False, "flat", {"spread": 0.1}, "rescale")]

    monkeypatch.setattr(sanity_module, "sanity", checks)
    evaluate(config())
    assert given == []
    results = evaluate(config(sanity=True))
    # Those that the model has right: a third of one's 6 samples, and of two's 9.
    assert given == [(2, 2, 2 / 255), (3, 3, 2 / 255)]
    assert [report.refused for report in results.sanity] == ["too few", ""]
    assert evaluate(config(sanity=True)).sanity == results.sanity
    assert len(given) == 2
    page = sanity_page(results)
    assert "not checked: too few" in page
    assert "## softmax range: **FAILED**" in page
    assert warnings(results) == [
        f"warning: {config().model[0]} on two: flat. rescale",
        f"warning: {config().model[0]} on one could not be checked: too few",
    ]
    assert "passing on fewer than 30 samples says little" in page


def test_samples_and_templates(small):
    results = evaluate(small(samples=3, templates=["a {}", "one {} here"]))
    assert {row.n for row in results.rows} == {3}
    assert next(iter(results.protocol["data"].values()))["class_names"] == ["bird", "cat", "house"]


def test_bad_requests(small, sets, tmp_path):
    with pytest.raises(RequestError, match="two data sets are called one"):
        evaluate(small(data=[sets[0], sets[0] + ",resolution=32"]))
    with pytest.raises(RequestError, match=r"there is no attack 'apgd': did you mean apgd"):
        evaluate(small(attack=["apgd"]))
    evaluate(small())
    with pytest.raises(RequestError, match=r"holds another run \(seed: 0 there, 1 asked\)"):
        evaluate(small(seed=1))
    evaluate(small(seed=1, overwrite=True))
    (tmp_path / "out" / "results.json").write_text("{")
    with pytest.raises(RequestError, match=r"results\.json is damaged"):
        evaluate(small(seed=1))


def test_a_nan_logit_is_an_error_and_not_a_wrong_prediction(config, monkeypatch):
    logits = ZeroShotClassifier.forward

    def broken(self, images):
        found = logits(self, images)
        found[-1] = float("nan")
        return found

    monkeypatch.setattr(ZeroShotClassifier, "forward", broken)
    with pytest.raises(RunError, match=r"a logit for .*\.png of one is NaN"):
        evaluate(config())
