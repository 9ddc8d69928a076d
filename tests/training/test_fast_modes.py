"""Compiled towers and the attack in bf16: what may differ from the usual step, and how far."""

import copy
from dataclasses import dataclass, field

import pytest
import torch
from torch.nn import functional as F

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.data.loading import load_batches
from zsrobust.data.registry import open_set
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.loading import load
from zsrobust.models.visual_prompts import embed_with_tokens
from zsrobust.objectives import StepContext, TeCoA
from zsrobust.training import compiling
from zsrobust.training import finetune as finetune_module
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.finetune import finetune
from zsrobust.training.step import TrainingStep, make_optimizer
from zsrobust.utils import devices
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


@pytest.fixture
def graphs(monkeypatch):
    """What is compiled while a test runs; traced, and run as it was traced, which takes no time."""
    found = []

    def traced(graph, inputs):
        found.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(compiling, "BACKEND", traced)
    yield found
    torch.compiler.reset()


CHANGES = {
    "full": {},
    "with an average": {"ema": 0.5},
    "batches in parts": {"accumulate": 2},
    "lora": {"adapter": Adapter("lora", rank=2)},
    "prompts": {"adapter": Adapter("prompt_tokens", tokens=3, width=2), "ema": 0.5},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_a_run_with_compiled_towers_is_the_same_run(config, weights, graphs, changes):
    """Traced operations are the same ones, so nothing but the order of a sum may differ."""
    usual = finetune(config("usual", steps=3, **changes))
    assert not graphs
    compiled = finetune(config("compiled", steps=3, compile=True, **changes))
    # One probe; then attack and update, whose blocks share what was compiled.
    assert len(graphs) >= 3
    for name, value in weights(usual.folder).items():
        torch.testing.assert_close(weights(compiled.folder)[name], value, atol=1e-6, rtol=1e-5)
    assert (compiled.clean_acc, compiled.robust_acc) == (usual.clean_acc, usual.robust_acc)


def test_a_compiled_run_resumes_and_is_evaluated(config, weights, graphs):
    whole = finetune(config("whole", compile=True))
    at = len(graphs)
    (whole.folder / "checkpoints" / "step-00000006").rename(whole.folder / "gone")
    for path in sorted((whole.folder / "gone").iterdir()):
        path.unlink()
    expected = {name: value.clone() for name, value in weights(whole.folder).items()}
    assert expected, "an earlier checkpoint is left"
    again = finetune(config("whole", compile=True))
    assert again.steps == 6
    assert len(graphs) == at, "what was compiled serves the same shapes again"
    # Held-out images come in batches of every size; none of them is compiled for.
    images = {
        tensor.shape[0]
        for graph in graphs
        for node in graph.graph.nodes
        if node.op == "placeholder"
        and isinstance(tensor := node.meta.get("example_value"), torch.Tensor)
        and tensor.ndim == 3
    }
    assert images == {8, 16}


def test_copies_are_not_compiled(small_clip, graphs):
    encoder = load(small_clip).encoder
    images = torch.rand(2, 3, 32, 32)
    expected = encoder(images)
    names = list(encoder.state_dict())
    compiling.compile_blocks(encoder)
    assert list(encoder.state_dict()) == names
    copied = copy.deepcopy(encoder)
    torch.testing.assert_close(copied(images), expected)
    assert not graphs
    torch.testing.assert_close(encoder(images), expected)
    assert len(graphs) == 1, "both blocks share it"
    for compiled, plain in zip(
        embed_with_tokens(encoder, images), embed_with_tokens(copied, images), strict=True
    ):
        torch.testing.assert_close(compiled, plain)
    with compiling.uncompiled(True):
        encoder(torch.rand(3, 3, 32, 32))
    assert len(graphs) == 1


def test_what_cannot_be_compiled_is_refused(config, graphs, monkeypatch):
    with pytest.raises(RequestError, match=r"compile is true: model glyph-clip \(ModifiedResNet\)"):
        finetune(config(model="glyph-clip", compile=True))
    with pytest.raises(RequestError, match=r"compile is True.*false with shard true"):
        config(shard=True, compile=True)

    def lacking(graph, inputs):
        raise OSError("no C++ compiler\nand much more")

    monkeypatch.setattr(compiling, "BACKEND", lacking)
    with pytest.raises(RequestError, match=r"does not work on cpu here \(.*no C\+\+ compiler.*\)"):
        finetune(config(compile=True))


@pytest.mark.parametrize("key", ["precision", "attack_precision"])
def test_bf16_is_refused_where_it_is_not(config, monkeypatch, key):
    assert devices.bf16_works(torch.device("cpu"))
    monkeypatch.setattr(finetune_module, "bf16_works", lambda device: False)
    with pytest.raises(RequestError, match=f"^{key} is bf16: cpu has no bfloat16; use {key} fp32$"):
        finetune(config(**{key: "bf16"}))


@dataclass(frozen=True)
class Watched(TeCoA):
    """TeCoA that keeps its adversarial images."""

    kept: list = field(default_factory=list)

    def adversarial(self, step):
        self.kept.append(super().adversarial(step))
        return self.kept[-1]


@pytest.fixture(scope="module")
def knows():
    """The embedded model's step on images that it was trained for, by the attack's precision."""
    images = open_set("glyph:greek", "test")
    (batch,) = load_batches(images, [list(range(48))], resize="clip", resolution=32, workers=0)

    def attacked(attack_bf16, **attack):
        model = load("glyph-clip")
        classifier = model.classifier(images.class_names)
        accelerator = make_accelerator("cpu")
        encoder = TrainedEncoder(model.encoder, model.preprocessing, accelerator)
        objective = Watched()
        step = TrainingStep(
            objective=objective,
            attack=PGD(ThreatModel(eps=1 / 255), **attack),
            encoder=encoder,
            classifier=classifier,
            original=copy.deepcopy(model.encoder),
            optimizer=make_optimizer(encoder, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0),
            accelerator=accelerator,
            attack_bf16=attack_bf16,
        )

        def loss(pixels):
            with torch.no_grad():
                return float(F.cross_entropy(classifier.eval()(pixels), batch.labels))

        before = loss(batch.images)
        kept = objective.kept
        given = Batch(batch.images, batch.labels, batch.sample_ids)
        step._adversarial(StepContext(classifier, given, step.attack))
        return kept[0], loss(kept[0]) - before

    return batch.images, attacked


def test_the_attack_in_bf16_is_as_strong(knows):
    images, attacked = knows
    attack = {"steps": 2, "step_size": 1 / 255}
    (full, gain), (half, half_gain) = attacked(False, **attack), attacked(True, **attack)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full), "or it ran in fp32"
    assert (half - images).abs().max() <= 1 / 255 + 1e-7
    assert half.min() >= 0
    assert half.max() <= 1
    assert gain > 0.1
    assert half_gain >= 0.9 * gain


def test_the_attack_in_bf16_steps_in_the_same_direction(knows):
    images, attacked = knows
    attack = {"steps": 1, "step_size": 1 / 255, "random_start": False}
    (full, _), (half, _) = attacked(False, **attack), attacked(True, **attack)
    # Where neither black nor white cuts the step off.
    free = (images > 1 / 255) & (images < 254 / 255)
    same = ((full - images).sign() == (half - images).sign())[free]
    assert same.float().mean() > 0.9
