import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.adversarial import choose
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.failures import class_accuracies, confusions
from zsrobust.evaluation.gallery import Gallery
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError


@pytest.fixture
def config(small_clip, photos, tmp_path):
    return EvaluateConfig(
        model=[small_clip],
        data=[f"imagefolder:{photos('photos', classes=4, images=6)}"],
        attack=["pgd-3"],
        eps=["16/255"],
        out=str(tmp_path / "run"),
        device="cpu",
        save_adversarial=4,
    )


def test_saved_images_give_the_recorded_predictions(config, tmp_path):
    results = evaluate(config)
    (folder,) = (tmp_path / "run" / "adversarial").iterdir()
    about = json.loads((folder / "samples.json").read_text())
    gallery = Gallery.read(folder / "samples.npz")
    assert 1 <= len(gallery.items) == len(about["samples"]) <= 4
    model = load(config.model[0])
    names = results.protocol["data"]["photos"]["class_names"]
    classifier = model.classifier(names, None, lambda _: None).eval()
    run = EvaluatedRun.read(tmp_path / "run")
    ids, labels, before, after = run.predictions(results.rows[0])
    counted = dict(zip(ids, zip(labels, before, after, strict=True), strict=True))
    for item, one in zip(gallery.items, about["samples"], strict=True):
        clean, adversarial = (torch.from_numpy(view.pixels)[None] for view in item.views)
        label, was, became = counted[one["sample_id"]]
        assert was == label
        with torch.no_grad():
            assert int(classifier(clean).argmax()) == label
            assert int(classifier(adversarial).argmax()) == became
        assert one["label"] == one["clean_prediction"] == names[label]
        assert one["adversarial_prediction"] == names[became]
        assert one["outcome"] == one["counted"] == ("stood" if became == label else "fell")
        distance = float((adversarial - clean).abs().max())
        assert one["linf"] == pytest.approx(distance)
        assert 0 < distance <= 16 / 255 + 1e-6
        assert all((folder / name).is_file() for name in one["pictures"])


def test_they_are_added_to_a_finished_evaluation_and_not_made_twice(config, tmp_path):
    plain = replace(config, save_adversarial=0)
    keys = [row.key for row in evaluate(plain).rows]
    assert not (tmp_path / "run" / "adversarial").exists()
    assert [row.key for row in evaluate(config).rows] == keys
    (folder,) = (tmp_path / "run" / "adversarial").iterdir()
    first = (folder / "samples.npz").stat().st_mtime_ns
    evaluate(config)
    assert (folder / "samples.npz").stat().st_mtime_ns == first
    evaluate(replace(config, save_adversarial=2))
    assert len(Gallery.read(folder / "samples.npz").items) <= 2
    evaluate(replace(plain, overwrite=True))
    assert not (tmp_path / "run" / "adversarial").exists()


def test_half_fell_and_half_stood_in_an_order_of_their_own():
    ids = [f"s{i}" for i in range(20)]
    clean = np.arange(20) < 16
    robust = np.arange(20) < 6
    for count, fell in ((4, 2), (5, 3), (20, 10)):
        chosen = choose(ids, clean, robust, count, "0 set")
        assert len(chosen) == len(set(chosen)) == min(count, 16)
        assert sum(not robust[ids.index(name)] for name in chosen) == fell
        assert all(clean[ids.index(name)] for name in chosen)
    # One side makes up for the other.
    assert len(choose(ids, clean, clean, 4, "k")) == len(choose(ids, clean, ~clean, 4, "k")) == 4
    assert choose(ids, clean, robust, 4, "a") != choose(ids, clean, robust, 4, "b")
    # A sample keeps its place whatever the others do.
    assert set(choose(ids, clean, robust, 2, "a")) <= set(choose(ids, clean, robust, 6, "a"))


def test_classes_and_confusions_are_counted_from_the_outcomes(config, tmp_path):
    results = evaluate(replace(config, save_adversarial=0))
    run, row = EvaluatedRun.read(tmp_path / "run"), results.rows[0]
    names = results.protocol["data"]["photos"]["class_names"]
    lines = run.outcomes.to_pylist()
    classes = {one.name: one for one in class_accuracies(run, row)}
    assert sum(one.clean for one in classes.values()) == round(row.n * row.clean_acc)
    assert sum(one.robust for one in classes.values()) == round(row.n * row.robust_acc)
    for label, name in enumerate(names):
        of = [line for line in lines if line["label"] == label]
        right = [line for line in of if line["clean_prediction"] == label]
        robust = [line for line in right if line["adversarial_prediction"] == label]
        assert (classes[name].n, classes[name].clean, classes[name].robust) == (
            *(len(of), len(right), len(robust)),
        )
        fell = [one for one in confusions(run, row) if one.label == name]
        assert sum(one.count for one in fell) == len(right) - len(robust)
        assert all(one.of == len(right) and one.predicted != name for one in fell)
    counts = [one.count for one in confusions(run, row)]
    assert counts == sorted(counts, reverse=True)


def test_a_number_below_zero_is_refused(config):
    with pytest.raises(RequestError, match="save_adversarial is -1"):
        replace(config, save_adversarial=-1)
