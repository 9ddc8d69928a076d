"""The black-box probe of an evaluation warns of gradients that lie and of answers that change."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation import compute, inputs
from zsrobust.evaluation.checks import black_box
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.results import Results, failed
from zsrobust.models.loading import load
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow

PROBE, REPEAT = "black-box probe", "answers repeat"


class Turned(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return -gradient


class Around(nn.Module):
    """An image encoder with something around it that adds no robustness."""

    def __init__(self, encoder, around):
        super().__init__()
        self.encoder, self.around = encoder, around
        self.store = []

    def forward(self, x):
        return self.around(self, x)


def turned(self, x):
    return self.encoder(Turned.apply(x))


def drawn(self, x):
    return self.encoder(Turned.apply(x) + 0.02 * torch.randn_like(x))


def decoy(self, x):
    other = self.encoder(x.flip(-1).roll(5, -2))
    return self.encoder(x).detach() + other - other.detach()


def less_the_mean(self, x):
    embeddings = self.encoder(x)
    return embeddings - 0.5 * embeddings.mean(0)


def remembering(self, x, store=None):
    store = self.store if store is None else store
    own = self.encoder(x)
    pixels = x.detach().flatten(1)
    near = torch.zeros(len(x), dtype=torch.bool)
    if store:
        old, answers = (torch.cat(part) for part in zip(*store, strict=True))
        distance, which = torch.cdist(pixels, old, p=torch.inf).min(1)
        near = distance < 0.15
    store.append((pixels[~near], own[~near].detach()))
    if not near.any():
        return own
    return torch.where(near[:, None], 0.98 * answers[which] + 0.02 * own, own)


def tiring(self, x):
    self.store += [0] * len(x)
    return self.encoder(x if len(self.store) < 60 else x.flip(-1))


GLOBAL = []


def remembering_elsewhere(self, x):
    return remembering(self, x, GLOBAL)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Evaluates ``glyph-clip`` with something around its encoder, beside its original or not."""

    def make(around=None, out="out", original=True, **changes):
        def wrapped(name, **options):
            model = load(name.removeprefix("wrapped "), **options)
            if not name.startswith("wrapped "):
                return model
            facts = {"method": "tuned"} if original else {"source": name}
            return replace(model, name=name, encoder=Around(model.encoder, around), **facts)

        for module in (compute, inputs):
            monkeypatch.setattr(module, "load", wrapped)
        fields = {
            "model": ["wrapped glyph-clip" if around else "glyph-clip"],
            "data": ["glyph:small-letters"],
            "out": str(tmp_path / out),
            "attack": ["pgd-3"],
            "eps": [Eps("4/255")],
            "samples": 30,
            "device": "cpu",
        }
        return evaluate(EvaluateConfig(**{**fields, **changes}))

    return make


def caught(results):
    return {found.check for found in failed(results.findings)} & {PROBE, REPEAT}


@pytest.mark.parametrize(
    ("around", "checks"),
    [
        (turned, {PROBE}),
        (decoy, {PROBE}),
        (drawn, {PROBE, REPEAT}),
        (remembering, {PROBE, REPEAT}),
        (remembering_elsewhere, {REPEAT}),
        (tiring, {REPEAT}),
        (less_the_mean, {REPEAT}),
    ],
)
def test_gradient_masking_is_reported(asked, around, checks):
    results = asked(around)
    assert caught(results) >= checks
    own = next(found for found in failed(results.findings) if found.check == max(checks))
    assert own.sentence.startswith("wrapped glyph-clip on small-letters")
    kinds = {"drawn": "random", "less_the_mean": "batch"}
    kinds |= dict.fromkeys(("remembering", "remembering_elsewhere", "tiring"), "state")
    assert results.probes[-1].dependence.kind == kinds.get(around.__name__, "")


def test_random_search_tells_without_an_original(asked):
    results = asked(turned, original=False)
    (probe,) = results.probes
    assert [attack.name for attack in probe.attacks] == ["random search of 8 queries"]
    assert PROBE in caught(results)


def test_an_original_that_is_not_evaluated_is_loaded_for_its_images(asked):
    results = asked(turned, baseline=False)
    assert [probe.model for probe in results.probes] == ["wrapped glyph-clip"]
    assert results.probes[0].attacks[0].name == "transfer(pgd-3, glyph-clip)"
    assert PROBE in caught(results)


@pytest.mark.parametrize("model", ["glyph-clip-robust", "ttc(glyph-clip-robust)"])
def test_honest_models_pass(asked, model):
    results = asked(model=[model])
    assert caught(results) == set()
    passed = {found.check for found in results.findings if found.passed}
    assert {PROBE, REPEAT} <= passed


def test_a_probe_is_cached_and_independent_of_batches_and_processes(asked, tmp_path, monkeypatch):
    first = asked(model=["glyph-clip-robust"])
    read = Results.read(tmp_path / "out" / "results.json")
    assert read.probes == first.probes
    assert read.findings == first.findings
    assert asked(model=["glyph-clip-robust"], batch_size=7, out="b").probes == first.probes
    monkeypatch.setattr(black_box, "_probed", lambda *_: pytest.fail("probed again"))
    assert asked(model=["glyph-clip-robust"]).probes == first.probes


def test_nothing_is_probed_without_an_attack_to_compare_with(asked):
    assert asked(eps=[Eps(0)]).probes == []
    assert asked(attack=["noise-2"], out="noise").probes == []


def test_a_probe_costs_a_tenth_of_an_evaluation(asked, monkeypatch):
    passes = {"all": 0, "probe": 0}

    def counted(*given):
        before = passes["all"]
        found = probe_cell(*given)
        passes["probe"] += passes["all"] - before
        return found

    probe_cell = compute.probe_cell
    monkeypatch.setattr(compute, "probe_cell", counted)

    def around(self, x):
        embeddings = self.encoder(x)
        passes["all"] += len(embeddings) * (2 if embeddings.requires_grad else 1)
        return embeddings

    asked(around, original=False, samples=200, attack=["pgd-10"])
    assert 0 < passes["probe"] < 0.1 * (passes["all"] - passes["probe"])
