"""EOT and BPDA: what the stand-in answers, and what it lets an attack find."""

import pytest
import torch
from torch import nn

from zsrobust.attacks import PGD, Ensemble, ThreatModel
from zsrobust.attacks.adaptive import BPDA, EOT, EOT_KEYS
from zsrobust.attacks.registry import make_attack
from zsrobust.evaluation.draws import CHOOSING, JUDGING
from zsrobust.models.zero_shot import Wrapped, ZeroShotClassifier
from zsrobust.utils.errors import RequestError

THREAT = ThreatModel(eps=8 / 255)


class Shifted(Wrapped):
    """Noise of a key is added to the images, and they are rounded where asked."""

    def __init__(self, classifier, key=0, levels=None, size=0.3):
        super().__init__(classifier)
        self.inner, self.key, self.levels, self.size = (classifier,), key, levels, size

    @property
    def undefended(self):
        return self.inner[0]

    @property
    def randomised(self):
        return self.size > 0

    def redrawn(self, key):
        return Shifted(self.inner[0], key, self.levels, self.size)

    def noise(self, images):
        drawn = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(self.key))
        return self.size * drawn

    def embed(self, images):
        images = images + self.noise(images)
        if self.levels:
            images = (images * self.levels).round() / self.levels
        return self.inner[0].embed(images)


@pytest.fixture(scope="module")
def plain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(8 * 9, 6)
        )
    encoder.requires_grad_(False)
    vectors = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    return ZeroShotClassifier.from_parts(encoder, vectors, list("abcd"), logit_scale=20.0).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def gradient(classifier, images, labels):
    images = images.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(classifier(images), labels, reduction="sum")
    return torch.autograd.grad(loss, images)[0]


def test_eot_is_the_mean_over_its_draws(plain, images):
    classifier = Shifted(plain)
    stand_in = EOT(PGD(THREAT), 5).stand_in(classifier)
    labels = plain(images).argmax(-1)

    def mean(given):
        return sum(classifier.redrawn(EOT_KEYS + draw)(given) for draw in range(5)) / 5

    torch.testing.assert_close(stand_in(images), mean(images))
    torch.testing.assert_close(
        gradient(stand_in, images, labels), gradient(mean, images, labels), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(stand_in(images, 1.0), mean(images) / 20)


def test_draws_of_the_attack_are_none_that_judge():
    keys = [set(range(first, first + 1000)) for first in (0, EOT_KEYS, CHOOSING, JUDGING)]
    assert len(set.union(*keys)) == 4000


def test_bpda_has_the_values_behind_the_defence_and_the_gradient_without(plain, images):
    classifier = Shifted(plain, levels=4, size=0)
    labels = plain(images).argmax(-1)
    stand_in = BPDA(PGD(THREAT)).stand_in(classifier)
    torch.testing.assert_close(stand_in(images), classifier(images))
    assert not gradient(classifier, images, labels).any(), "rounding has none"
    found = images.clone().requires_grad_(True)
    logits = plain(found)
    seen = classifier(images)
    # The loss is of the values behind the defence, so that they weigh the gradients of the logits.
    weights = seen.softmax(-1) - nn.functional.one_hot(labels, 4)
    (expected,) = torch.autograd.grad((weights * logits).sum(), found)
    torch.testing.assert_close(gradient(stand_in, images, labels), expected, atol=1e-5, rtol=1e-4)


def test_bpda_fools_a_rounding_that_plain_pgd_does_not(plain, images):
    classifier = Shifted(plain, levels=16, size=0)
    labels = classifier(images).argmax(-1)
    threat = ThreatModel(eps=0.3)
    attacks = PGD(threat, steps=20, random_start=False), BPDA(PGD(threat, steps=20))
    left = [(classifier(one(classifier, images, labels)).argmax(-1) == labels) for one in attacks]
    assert left[0].all()
    assert not left[1].any()


def test_eot_fools_more_draws_than_one_gradient(plain):
    """By draws that neither attack has seen."""
    images = torch.rand(48, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    classifier = Shifted(plain, size=2)
    fresh = [classifier.redrawn(JUDGING + number) for number in range(40)]

    def right(given, labels):
        return torch.stack([one(given).argmax(-1) == labels for one in fresh]).float().mean()

    labels = torch.stack([one(images) for one in fresh]).mean(0).argmax(-1)
    attack = PGD(ThreatModel(eps=0.1), steps=10)
    one, many = (right(a(classifier, images, labels), labels) for a in (attack, EOT(attack, 10)))
    assert many < one - 0.04, "one key's noise is not another's"


@pytest.mark.parametrize(
    "name",
    ["eot-4(pgd-3)", "bpda(apgd-ce)", "eot-20(bpda(pgd-10-margin))", "eot-2(apgd-ce+apgd-dlr)"],
)
def test_a_name_means_one_attack(name):
    assert make_attack(name, THREAT).name == name
    combined = make_attack(f"{name}+pgd-2", THREAT)
    assert isinstance(combined, Ensemble)
    assert [part.name for part in combined.parts] == [name, "pgd-2"]


def test_autoattacks_version_for_randomised_models():
    parts = make_attack("autoattack-rand", THREAT).parts
    assert [part.name for part in parts] == ["eot-20(apgd-ce)", "eot-20(apgd-dlr)"]
    # 101 gradients and two passes for the verdicts, of every draw; a gradient's forward pass twice.
    assert [part.passes for part in parts] == [20 * (3 * 101 + 2)] * 2


@pytest.mark.parametrize("name", ["eot-0(pgd-3)", "eot(pgd-3)", "bpda(pgd)", "bpda()"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(RequestError):
        make_attack(name, THREAT)


def test_where_they_say_nothing_new_they_are_left_out(plain):
    defended = Shifted(plain)
    assert EOT(PGD(THREAT)).left_out_of(plain) == "draws no random numbers"
    assert BPDA(PGD(THREAT)).left_out_of(plain) == "has no test-time defence"
    assert EOT(PGD(THREAT)).left_out_of(Shifted(plain, size=0)) == "draws no random numbers"
    assert [one(PGD(THREAT)).left_out_of(defended) for one in (EOT, BPDA)] == ["", ""]


def test_targets_are_capped_inside():
    fitted, note = make_attack("eot-2(apgd-t)", THREAT).for_classes(5)
    assert fitted.attack.parameters["n_target_classes"] == 4
    assert "4 of 9" in note
