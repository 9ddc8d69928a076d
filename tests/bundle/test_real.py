"""Bundles of evaluations that were run, on a small random CLIP."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from zsrobust.bundle.archive import pack, read_archive, unpack
from zsrobust.bundle.create import write_bundle
from zsrobust.bundle.manifest import describe
from zsrobust.bundle.recompute import Samples, recomputed
from zsrobust.bundle.verify import verify
from zsrobust.cli.main import main
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.split import keyed_order
from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow

ATTACKS = ["pgd-2", "noise-1+pgd-2+cw-3"]


@pytest.fixture
def evaluated(here, small_clip):
    """Evaluates a small CLIP and its fine-tuned form on 240 images, as asked."""
    random = np.random.default_rng(0)
    for label in ("red", "green", "blue"):
        folder = here / "photos" / label
        folder.mkdir(parents=True)
        for index in range(80):
            noise = random.integers(0, 256, 3) + random.integers(-60, 61, (32, 32, 3))
            pixels = np.clip(noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    model = load(small_clip)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.1)
    save_model(here / "tuned", replace(model, seen=frozenset()), "tecoa")

    def make(name, **changes):
        fields = {"model": ["tuned"], "data": ["imagefolder:photos"], "attack": ATTACKS}
        fields |= {"eps": [Eps("4/255")], "device": "cpu", "out": name, **changes}
        evaluate(EvaluateConfig(**fields))
        return EvaluatedRun.read(here / name)

    return make


@pytest.mark.parametrize("changes", [{}, {"norm": "l2", "eps": [Eps(0.2), Eps(0.5)]}])
def test_what_was_evaluated_verifies(changes, evaluated, here):
    write_bundle(evaluated("run", **changes), here / "run.zip")
    found = verify(read_archive(here / "run.zip"))
    assert found.contradictions == []
    assert any("photos is no published data set" in one for one in found.unchecked)


def test_estimates_in_two_phases_verify_and_their_draws_are_checked(evaluated, here):
    run = evaluated("run", half_width=7.0)
    write_bundle(run, here / "run.zip")
    archive = read_archive(here / "run.zip")
    assert verify(archive).contradictions == []
    drawn = [row.sampling for row in run.results.rows if row.sampling]
    assert any(one.tested["cw-3"] < one.standing for one in drawn)
    table = pq.read_table(pa.BufferReader(archive.outcomes))
    for change, said in (
        ({"fell_to": "cw-3"}, "fell to a part that they were not drawn for"),
        ({"drawn_parts": 1}, "out of the order of seed 0"),
        ({"stratum": None}, "stand the first part and are in no stratum"),
        ({"drawn_parts": None}, "have no number of later parts"),
    ):
        lines = table.to_pylist()
        sampled = [one for one in lines if one["attack"] == "noise-1+pgd-2+cw-3"]
        # The last in the order of the draw that no later part was run on, as if it had been.
        order = keyed_order([one["sample_id"] for one in sampled], 0, "two-phase")
        line = next(
            sampled[at]
            for at in reversed(order)
            if sampled[at]["drawn_parts"] == 0 and not sampled[at]["fell_to"]
        )
        line |= change
        if "fell_to" in change:
            line["adversarial_prediction"] = (line["label"] + 1) % 3
            line["adversarial_margin"] = -line["adversarial_margin"]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(lines, table.schema), sink)
        packed = pack(archive.manifest, archive.results, sink.getvalue().to_pybytes())
        assert any(said in one for one in verify(unpack(packed, "FILE")).contradictions), change


def forged(run, out):
    """A bundle in which every sample stands, and everything fits."""
    lines = run.outcomes.to_pylist()
    for line in lines:
        for stage in ("clean", "adversarial"):
            line |= {f"{stage}_prediction": line["label"], f"{stage}_loss": 0.2}
            line[f"{stage}_margin"] = 2.0
        line["fell_to"] = ""
    false = replace(run, outcomes=pa.Table.from_pylist(lines, run.outcomes.schema))
    samples = [Samples.of(false, row) for row in run.results.rows]
    results = recomputed(false, samples)
    results = replace(results, findings=diagnose(results))
    sink = pa.BufferOutputStream()
    pq.write_table(false.outcomes, sink)
    request = json.loads(json.dumps(read_archive(out).manifest["request"]))
    manifest = {"package": "0.1.0", **describe(false, request)}
    text = (json.dumps(results.as_dict(), indent=1) + "\n").encode()
    out.write_bytes(pack(manifest, text, sink.getvalue().to_pybytes()))


def test_the_model_tells_what_no_bundle_shows(evaluated, here, capsys):
    run = evaluated("run", attack=["pgd-2"])
    write_bundle(run, here / "run.zip")
    recheck = ["verify", "run.zip", "--model", "tuned", "--data", "imagefolder:photos"]
    recheck += ["--recheck", "30", "--device", "cpu"]
    assert main(recheck) == 0
    said = capsys.readouterr().out
    assert (
        "tuned on photos: labels, and logits of clean images: the model gives the same on 30"
        in said
    )
    assert "tuned on photos, pgd-2 4/255: whether samples stand: the model gives the same" in said

    forged(run, here / "run.zip")
    assert main(["verify", "run.zip"]) == 0
    assert main(recheck) == 1
    said = capsys.readouterr().out
    assert "contradiction: tuned on photos: labels, and logits of clean images" in said


def test_other_weights_and_other_images_are_told(evaluated, here, small_clip, capsys):
    write_bundle(evaluated("run", attack=["pgd-2"], baseline=False), here / "run.zip")
    recheck = ["verify", "run.zip", "--recheck", "5", "--device", "cpu"]
    assert main([*recheck, "--model", small_clip, "--data", "imagefolder:photos"]) == 1
    assert "has the weights" in capsys.readouterr().out
    (here / "photos" / "red" / "3.png").rename(here / "photos" / "red" / "x.png")
    assert main([*recheck, "--model", "tuned", "--data", "imagefolder:photos"]) == 1
    assert "1 samples of photos are not in" in capsys.readouterr().out
