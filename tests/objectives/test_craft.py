"""What each objective trains on: adversarial images of the student, or the clean ones."""

import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.data.batch import Batch
from zsrobust.errors import RequestError
from zsrobust.objectives import OBJECTIVES, PMGAFT, FTClean, TeCoA, objective_class

ATTACK = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3)


@pytest.mark.parametrize("objective", [FTClean(), PMGAFT(images="clean")])
def test_clean_objectives_hand_the_images_back(classifier, samples, objective):
    batch = Batch(*samples())
    assert objective.craft(classifier(), batch, ATTACK, 0) is batch.images


@pytest.mark.parametrize(
    ("objective", "scale"),
    [(TeCoA(), 20.0), (PMGAFT(), 20.0), (PMGAFT(preset="authors_code"), 1.0)],
)
def test_adversarial_objectives_attack_the_student_at_their_scale(
    classifier, samples, objective, scale
):
    model, batch = classifier(batch_norm=False), Batch(*samples())
    crafted = objective.craft(model, batch, ATTACK, epoch=2)
    expected = PGD(ThreatModel(eps=8 / 255), steps=2, step_size=8 / 255, seed=3, logit_scale=scale)(
        model, batch.images, batch.labels, batch.sample_ids, 2
    )
    assert torch.equal(crafted, expected)
    again = objective.craft(model, batch, ATTACK, epoch=3)
    assert not torch.equal(crafted, again), "each epoch starts elsewhere"


def test_registry():
    for name, objective in OBJECTIVES.items():
        assert objective().label.startswith(name)
        assert objective_class(name) is objective
    with pytest.raises(RequestError, match="method 'pgm_aft' is unknown"):
        objective_class("pgm_aft")
