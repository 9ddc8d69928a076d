"""Models built to fool a weak attack are caught, honest ones are not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zsrobust.attacks import ThreatModel, pgd
from zsrobust.attacks.losses import cross_entropy
from zsrobust.errors import RequestError
from zsrobust.evaluation.findings import failed
from zsrobust.evaluation.sanity import CHECKS, sanity
from zsrobust.models.zero_shot import ZeroShotClassifier

EPS = 8 / 255


class Net(nn.Module):
    """Images (N, 3, 8, 8) to 10 logits."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(256, 64),
            nn.GELU(),
            nn.Linear(64, 10),
        )

    def forward(self, images):
        return self.body(4 * (images - 0.5))


class Wrapped(nn.Module):
    """A model with something around it that holds off an attack and adds no robustness."""

    def __init__(self, net, around):
        super().__init__()
        self.net = net
        self.around = around

    def forward(self, images):
        return self.around(self.net, images)


def blobs(n, seed):
    """n faint coloured patterns, one of 10, under noise."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    patterns = F.interpolate(patterns, size=8, mode="bilinear")
    labels = torch.randint(10, (n,), generator=generator)
    noise = torch.randn(n, 3, 8, 8, generator=generator)
    return (0.5 + 0.06 * (patterns[labels] + noise)).clamp(0, 1), labels


def trained(eps):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), 2e-3)
        images, labels = blobs(2000, seed=2)
        for _ in range(150):
            rows = torch.randint(2000, (100,))
            x, y = images[rows], labels[rows]
            if eps:
                x = pgd(
                    lambda z, y=y: cross_entropy(net(z), y),
                    x,
                    ThreatModel(eps=eps),
                    steps=3,
                    step_size=eps / 1.5,
                )
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def undefended():
    return trained(0)


@pytest.fixture(scope="module")
def hardened():
    return trained(EPS)


def findings(model, eps=EPS, n=100, norm="linf"):
    images, labels = blobs(n, seed=3)
    ids = [str(row) for row in range(n)]
    return {
        found.check: found
        for found in sanity(model, images, labels, ids, ThreatModel(norm=norm, eps=eps))
    }


def caught_by(model, **options):
    return {found.check for found in failed(list(findings(model, **options).values()))}


@pytest.mark.parametrize("eps", [1 / 255, EPS, 16 / 255])
def test_honest_models_pass(undefended, hardened, eps):
    assert caught_by(undefended, eps=eps) == set()
    assert caught_by(hardened, eps=eps) == set()


def test_honest_models_pass_under_l2(undefended, hardened):
    assert caught_by(undefended, eps=0.3, norm="l2") == set()
    assert caught_by(hardened, eps=0.3, norm="l2") == set()


def test_the_models_are_what_they_are_taken_for(undefended, hardened):
    key = "fallen_own_scale"
    fragile = findings(undefended)["logit scale"].figures[key]
    robust = findings(hardened)["logit scale"].figures[key]
    assert fragile > 0.8
    assert 0.05 < robust < 0.4


@pytest.mark.parametrize("seed", range(3))
def test_honest_zero_shot_classifiers_pass(undefended, seed):
    # The same network behind cosines, as every model of this project; another sampling each time.
    encoder = nn.Sequential(*undefended.body[:-1])
    vectors = undefended.body[-1].weight.detach()
    model = ZeroShotClassifier.from_parts(
        Shifted(encoder), vectors, [f"class {row}" for row in range(10)], logit_scale=20
    )
    images, labels = blobs(60, seed=10 + seed)
    ids = [str(row) for row in range(60)]
    assert failed(sanity(model, images, labels, ids, ThreatModel(eps=EPS), seed=seed)) == []


class Shifted(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, images):
        return self.encoder(4 * (images - 0.5))


def test_logits_scaled_down(undefended):
    caught = caught_by(Wrapped(undefended, lambda net, x: net(x) / 100))
    assert caught == {"softmax range", "logit scale"}


def test_logits_scaled_down_in_half_precision(undefended):
    caught = caught_by(Wrapped(undefended, lambda net, x: (net(x) / 100).half().float()))
    assert {"softmax range", "logit scale"} <= caught


def test_logits_scaled_up(undefended):
    caught = caught_by(Wrapped(undefended, lambda net, x: net(x) * 1000))
    assert caught == {
        "softmax range",
        "zero gradients",
        "loss rises with steps",
        "logit scale",
        "falls at a large eps",
        "PGD beats a black box",
    }


@pytest.mark.parametrize("levels", [16, 256])
def test_quantised_input(undefended, levels):
    top = levels - 1
    caught = caught_by(Wrapped(undefended, lambda net, x: net((x * top).round() / top)))
    assert caught == {
        "zero gradients",
        "finite differences",
        "loss rises with steps",
        "falls at a large eps",
        "PGD beats a black box",
    }


@pytest.mark.parametrize("size", [0.01, 0.05])
def test_randomised(undefended, size):
    caught = caught_by(Wrapped(undefended, lambda net, x: net(x + size * torch.randn_like(x))))
    assert "repeatable" in caught


def test_saturated_softmax(undefended):
    def around(net, x):
        return (1000 * net(x).log_softmax(-1)).clamp_min(-1e4)

    assert {"softmax range", "zero gradients", "loss rises with steps", "logit scale"} <= caught_by(
        Wrapped(undefended, around)
    )


def test_a_gradient_that_is_not_a_number_is_a_finding(undefended):
    def around(net, x):
        # sqrt(0) has an infinite gradient, and 0 times infinity is none.
        return net(x) + ((x - x).sum((1, 2, 3)).sqrt() * 0)[:, None]

    found = findings(Wrapped(undefended, around))
    assert len(found) == len(CHECKS)
    assert not found["loss rises"].passed
    assert "not a number" in found["loss rises"].sentence


def test_two_classes_may_have_close_logits(undefended):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = undefended

        def forward(self, images):
            return self.net(images)[:, :2] / 100

    images, labels = blobs(300, seed=3)
    kept = labels < 2
    ids = [str(row) for row in range(int(kept.sum()))]
    assert failed(sanity(Two(), images[kept], labels[kept], ids, ThreatModel(eps=EPS))) == []


def test_the_model_and_the_random_state_are_left_alone_and_findings_repeat(undefended):
    model = Wrapped(undefended, lambda net, x: net(x + 0.05 * torch.randn_like(x)))
    model.train()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = findings(model, n=30), findings(model, n=30)
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.eval()


def test_what_it_cannot_judge_is_refused(undefended):
    images, labels = blobs(20, seed=3)
    ids = [str(row) for row in range(20)]
    with pytest.raises(RequestError, match="must be above 0"):
        sanity(undefended, images, labels, ids, ThreatModel(eps=0))
    with pytest.raises(RequestError, match="only 0 of 20 samples"):
        sanity(undefended, images, (labels + 1) % 10, ids, ThreatModel(eps=EPS))


def test_a_tie_of_all_classes_is_named_and_not_the_gradient(undefended):
    images, labels = blobs(40, seed=3)
    ids = [str(row) for row in range(40)]
    for around in (
        lambda net, x: 0 * net(x) + 3,
        lambda net, x: net(x).mean(1, True).expand(-1, 10),
    ):
        with pytest.raises(RequestError, match="40 of 40 samples all classes have the same") as no:
            sanity(Wrapped(undefended, around), images, labels, ids, ThreatModel(eps=EPS))
        assert "gradient" not in str(no.value)


def test_samples_are_checked(undefended):
    images, labels = blobs(40, seed=3)
    ids = [str(row) for row in range(40)]
    for bad, word in [
        ((255 * images, labels, ids), "outside the pixel range"),
        ((images, labels.float(), ids), "type of labels"),
        ((images, labels, ids[1:]), "number of sample_ids"),
    ]:
        with pytest.raises(RequestError, match=word):
            sanity(undefended, *bad, ThreatModel(eps=EPS))


def test_a_radius_next_to_the_pixel_range_is_checked_too(undefended):
    assert findings(undefended, eps=0.6, n=30)["falls along eps"].passed
