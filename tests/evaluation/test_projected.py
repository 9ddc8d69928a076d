"""What is said of an attack of the user's own that leaves its radius."""

import pytest
import torch

import zsrobust
from zsrobust.attacks import register_attack
from zsrobust.attacks.base import REGISTERED


class Brightness(torch.nn.Module):
    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], 1)


@pytest.fixture
def attacks():
    """Attacks that a test registers are gone after it."""
    before = list(REGISTERED)
    yield
    REGISTERED[:] = before


@pytest.mark.parametrize(
    ("norm", "eps", "said"),
    [
        ("linf", "4/255", "outside moved pixels by up to 200/255; projected to 4/255"),
        ("l2", "0.5", "outside moved images by up to l2 10.8678; projected to l2 0.5"),
    ],
)
def test_an_attack_that_leaves_its_radius_is_said_once(attacks, tmp_path, capfd, norm, eps, said):
    @register_attack("outside")
    def outside(classifier, images, labels, eps):
        return torch.zeros_like(images) + 200 / 255

    @register_attack("inside")
    def inside(classifier, images, labels, eps, threat=None):
        return threat.project(images, images + 1)

    black = [(torch.zeros(3, 8, 8), index % 2) for index in range(4)]
    data = zsrobust.image_set(black, ["dark", "light"], name="black")
    options = {
        "models": Brightness(),
        "data": data,
        "norm": norm,
        "eps": eps,
        "out": str(tmp_path / "run"),
    }
    options |= {"attacks": ["outside", "inside"], "device": "cpu"}
    for _ in range(2):  # The second is answered from the folder.
        results = zsrobust.evaluate(**options)
        (found,) = (one for one in results.findings if one.check == "attack within its radius")
        assert (found.sentence, found.passed) == (said, True)
    assert " ".join(capfd.readouterr().err.split()).count(said) == 1
