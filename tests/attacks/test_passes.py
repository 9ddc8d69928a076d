"""What an attack costs: passes of one sample, counted at the encoder."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from zsrobust.attacks import ThreatModel, Transfer, make_attack
from zsrobust.attacks.registry import EXAMPLES
from zsrobust.models.zero_shot import ZeroShotClassifier

OTHERS = [
    "pgd-3-targeted",
    "noise-3+pgd-3-dlr",
    "noise-1",
    "eot-3(pgd-2-targeted)",
    "eot-2(apgd-t)",
    "eot-2(fab-t)",
    "eot-2(square)",
    "eot-2(apgd-t-early)",
    "eot-2(noise-3+pgd-3)",
]


class Counted(nn.Module):
    """An encoder that counts the images that pass it, forward and backward."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.passes = encoder, 0

    def forward(self, images):
        count = self

        class Count(torch.autograd.Function):
            @staticmethod
            def forward(_, x):
                count.passes += len(x)
                return x.clone()

            @staticmethod
            def backward(_, gradient):
                count.passes += len(gradient)
                return gradient

        return self.encoder(Count.apply(images))


@pytest.fixture
def counted(of_classes):
    """A classifier that counts, and the sample that it is surest of."""

    def make(classes):
        model, images, labels, ids = of_classes(classes)
        highest = model(images).topk(2, dim=1).values
        row = int((highest[:, 0] - highest[:, 1]).argmax())
        encoder = Counted(model.encoder)
        model = ZeroShotClassifier.from_parts(
            encoder, model.class_embeddings, model.class_names, logit_scale=20
        )
        return model, images[[row]], labels[[row]], [ids[row]]

    return make


def passes(attack, model, images, labels, ids):
    found = attack(model, images, labels, ids)
    counted = model.encoder.passes
    assert torch.equal(model(found).argmax(-1), labels), "the sample fell"
    return counted


@pytest.mark.parametrize("classes", [4, 12])
@pytest.mark.parametrize("name", [*EXAMPLES, *OTHERS])
def test_passes_of_a_sample_that_stands(counted, quick, name, classes):
    attack, _ = quick(name, ThreatModel(eps=1e-5)).for_classes(classes)
    assert passes(attack, *counted(classes)) == attack.passes


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pgd-4", {"restarts": 3}),
        ("pgd-4", {"early_stop": True}),
        ("pgd-4-targeted", {"restarts": 2, "early_stop": True}),
    ],
)
def test_passes_with_options(counted, name, options):
    attack = make_attack(name, ThreatModel(eps=1e-5), **options)
    attack, _ = attack.for_classes(4)
    assert passes(attack, *counted(4)) == attack.passes


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_passes_with_parameters_of_the_library(counted, quick, name):
    attack = quick(name, ThreatModel(eps=1e-5))
    more = {"n_restarts": 2, **({"eot_iter": 3} if "apgd" in name else {})}
    attack, _ = replace(attack, parameters={**attack.parameters, **more}).for_classes(5)
    assert passes(attack, *counted(5)) == attack.passes


def test_passes_of_pgd_and_of_autoattack():
    threat = ThreatModel()
    assert make_attack("pgd-10", threat).passes == 20
    # Of each target 202 by APGD and 300 by FAB, 202 by APGD-CE, 5,000 queries by Square.
    assert make_attack("autoattack", threat).passes == pytest.approx(9 * 502 + 5202, rel=0.01)


def test_transfer_costs_what_its_attack_costs_the_surrogate(counted):
    model, images, labels, ids = counted(5)
    surrogate, *_ = counted(5)
    attack = Transfer(make_attack("pgd-3", ThreatModel(eps=1e-5)), surrogate, "other")
    attack(model, images, labels, ids)
    assert (model.encoder.passes, surrogate.encoder.passes) == (0, attack.passes)
