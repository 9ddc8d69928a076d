"""A model without a gradient can be evaluated by attacks that need none; what needs one says so."""

import tempfile

import pytest
import torch
from torch import nn

import zsrobust
from zsrobust.attacks import Ensemble, LibraryAttack, Noise, ThreatModel, register_attack
from zsrobust.attacks.base import REGISTERED
from zsrobust.evaluation.results import Results
from zsrobust.reporting.findings import findings_page, warnings
from zsrobust.reporting.report import write_report
from zsrobust.utils.errors import RequestError

EPS = 8 / 255
# A threshold at 1/2: robust exactly where the grey is farther from it than eps, 0.031.
GREYS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.45, 0.49, 0.51, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95)
ROBUST = 12 / 14


class Detached(nn.Module):
    def forward(self, images):
        lead = 40 * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([-lead, lead], dim=1).detach()


class Numpy(Detached):
    def forward(self, images):
        return super().forward(torch.from_numpy(images.numpy()))


class Greys:
    classes = ("dark", "light")

    def __len__(self):
        return len(GREYS)

    def __getitem__(self, index):
        return torch.full((3, 8, 8), GREYS[index]), int(GREYS[index] > 0.5)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What tests register, and folders, go again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    registered = list(REGISTERED)
    yield
    REGISTERED[:] = registered


def evaluate(model, attacks, **options):
    options = {"eps": EPS, "device": "cpu", **options}
    return zsrobust.evaluate(models=model, data=Greys(), attacks=attacks, **options)


@pytest.mark.parametrize("model", [Detached(), Numpy()])
def test_black_box_attacks_alone_evaluate_it_and_checks_of_gradients_are_skipped(model, tmp_path):
    square = LibraryAttack("square", ThreatModel(eps=EPS), parameters={"n_queries": 50})
    ensemble = Ensemble("both", (Noise(ThreatModel(eps=EPS), draws=2), square))
    asked = {"attacks": [square, ensemble], "eps": None, "sanity": True, "out": "run"}
    results = evaluate(model, **asked)
    found = {row.attack: row for row in results}
    assert found["square"].robust_acc == pytest.approx(ROBUST)
    assert found["both"].robust_acc == pytest.approx(ROBUST)
    assert all(row.zero_gradients is None and row.clean_acc == 1 for row in results)
    (skipped,) = [one for one in results.findings if one.skipped]
    assert (skipped.check, skipped.verdict) == ("gradients are there", "skipped")
    name = type(model).__name__
    assert f"{name} on greys has no gradient" in skipped.sentence
    assert f"note: {skipped.sentence}" in str(results)
    assert any(line.startswith(f"note: {skipped.sentence}") for line in warnings(results))
    verdicts = {one.check: one.verdict for one in results.sanity[0].findings}
    assert verdicts["repeatable"] == verdicts["independent of the batch"] == "passed"
    assert verdicts["finite differences"] == verdicts["pgd beats noise"] == "skipped"
    for again in (Results.read(tmp_path / "run" / "results.json"), evaluate(model, **asked)):
        assert (again.findings, again.sanity) == (results.findings, results.sanity)
        assert [row.zero_gradients for row in again] == [None, None]
    page = write_report([tmp_path / "run"], tmp_path / "report").page.read_text()
    assert f"{name} on greys has no gradient" in page
    assert ">skipped<" in page
    assert "could not be made" in findings_page(results.sanity[0].findings, {})


@pytest.mark.parametrize("model", [Detached(), Numpy()])
@pytest.mark.parametrize("attacks", ["pgd-5", "apgd-ce", "fab-t", ["square", "pgd-5"]])
def test_an_attack_that_needs_a_gradient_is_refused_in_a_sentence(model, attacks):
    with pytest.raises(RequestError, match="the model has no gradient with respect to the image"):
        evaluate(model, attacks)


def test_an_attack_of_ones_own_may_do_without():
    @register_attack("darker")
    def darker(classifier, images, labels, eps):
        return images - eps

    (row,) = evaluate(Detached(), "darker")
    # Of the light ones 0.51 falls.
    assert row.robust_acc == pytest.approx(13 / 14)
    assert row.zero_gradients is None
