"""Models built to fool a weak attack are caught, honest ones are not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zsrobust.attacks import ThreatModel, pgd
from zsrobust.attacks.losses import cross_entropy
from zsrobust.evaluation.checks import sanity as sanity_module
from zsrobust.evaluation.checks.attack_checks import falls_along_eps, logit_scale, loss_rises
from zsrobust.evaluation.checks.gradient_checks import repeatable, softmax_range, zero_gradients
from zsrobust.evaluation.checks.sanity import CHECKS, sanity
from zsrobust.evaluation.checks.state_checks import batch_independent, stateless
from zsrobust.evaluation.results import failed
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

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
        self.net, self.around = net, around

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


@pytest.fixture
def only(monkeypatch):
    """Leaves the checks that it is given."""
    return lambda *checks: monkeypatch.setattr(sanity_module, "CHECKS", checks)


def findings(model, eps=EPS, n=100, norm="linf"):
    images, labels = blobs(n, seed=3)
    ids = [str(row) for row in range(n)]
    return {
        found.check: found
        for found in sanity(model, images, labels, ids, ThreatModel(norm=norm, eps=eps))
    }


def caught_by(model, **options):
    return {found.check for found in failed(list(findings(model, **options).values()))}


@pytest.mark.parametrize(
    ("eps", "norm"), [(1 / 255, "linf"), (EPS, "linf"), (16 / 255, "linf"), (0.3, "l2")]
)
def test_honest_models_pass(undefended, hardened, eps, norm):
    found = [findings(model, eps=eps, norm=norm) for model in (undefended, hardened)]
    assert [one.check for model in found for one in failed(list(model.values()))] == []
    if eps == EPS:  # They are as fragile, and as robust, as they are taken for.
        fragile, robust = (one["logit scale"].figures["fallen_own_scale"] for one in found)
        assert fragile > 0.8
        assert 0.05 < robust < 0.4


@pytest.mark.parametrize("seed", range(2))
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


def test_logits_scaled_down_in_half_precision(undefended, only):
    only(softmax_range, logit_scale)
    caught = caught_by(Wrapped(undefended, lambda net, x: (net(x) / 100).half().float()))
    assert caught == {"softmax range", "logit scale"}


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


def test_quantised_input(undefended):
    caught = caught_by(Wrapped(undefended, lambda net, x: net((x * 255).round() / 255)))
    assert caught == {
        "zero gradients",
        "finite differences",
        "loss rises with steps",
        "falls at a large eps",
        "PGD beats a black box",
    }


def test_randomised(undefended, only):
    only(repeatable)
    noisy = Wrapped(undefended, lambda net, x: net(x + 0.01 * torch.randn_like(x)))
    assert caught_by(noisy) == {"repeatable"}


def test_saturated_softmax(undefended, only):
    def around(net, x):
        return (1000 * net(x).log_softmax(-1)).clamp_min(-1e4)

    only(softmax_range, zero_gradients, loss_rises, logit_scale)
    caught = caught_by(Wrapped(undefended, around))
    assert caught == {"softmax range", "zero gradients", "loss rises with steps", "logit scale"}


def test_a_gradient_that_is_not_a_number_is_a_finding(undefended):
    def around(net, x):
        # sqrt(0) has an infinite gradient, and 0 times infinity is none.
        return net(x) + ((x - x).sum((1, 2, 3)).sqrt() * 0)[:, None]

    found = findings(Wrapped(undefended, around))
    assert len(found) == len(CHECKS)
    assert not found["loss rises"].passed
    assert "NaN" in found["loss rises"].sentence


def test_two_classes_may_have_close_logits(undefended):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = undefended

        def forward(self, images):
            return self.net(images)[:, :2] / 100

    images, labels = blobs(300, seed=3)
    chosen = labels < 2
    ids = [str(row) for row in range(int(chosen.sum()))]
    assert failed(sanity(Two(), images[chosen], labels[chosen], ids, ThreatModel(eps=EPS))) == []


def test_the_model_and_the_random_state_are_left_alone_and_findings_repeat(undefended):
    model = Wrapped(undefended, lambda net, x: net(x + 0.05 * torch.randn_like(x)))
    model.train()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = findings(model, n=15), findings(model, n=15)
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


def test_a_radius_next_to_the_pixel_range_is_checked_too(undefended, only):
    only(falls_along_eps)
    assert caught_by(undefended, eps=0.6, n=30) == set()


class Memory(nn.Module):
    """Remembers what it was asked, and answers images near that nearly as it did then.

    With ``exact``, a stateful detector: of queries that are near an earlier one, and not the same.
    """

    def __init__(self, net, store, start=0, key=lambda x: x, without_grad=False, exact=False):
        super().__init__()
        self.net, self.store, self.key, self.start = net, store, key, start
        self.without_grad, self.exact = without_grad, exact
        self.asked = 0

    def forward(self, images):
        own = self.net(images)
        keys = self.key(images.detach()).flatten(1)
        self.asked += len(images)
        if self.asked <= self.start:
            return own
        known = torch.full((len(images),), torch.inf)
        if self.store:
            old, answers = (torch.cat(part) for part in zip(*self.store, strict=True))
            known, which = torch.cdist(keys, old, p=torch.inf).min(1)
        near = (known < 1.5 * EPS) & ~(self.exact & (known == 0))
        if not (self.without_grad and torch.is_grad_enabled()):
            self.store.append((keys[~near], own[~near].detach()))
        if not near.any():
            return own
        return torch.where(near[:, None], 0.98 * answers[which] + 0.02 * own, own)


GLOBAL = []


class Counting(nn.Module):
    """Defends itself once it has been asked often."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, images):
        self.asked += len(images)
        return self.net((8 * images).round() / 8 if self.asked > 200 else images)


class Adapting(nn.Module):
    """Moves its own weights a little at every question."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.shift = nn.Parameter(torch.zeros(10))

    def forward(self, images):
        with torch.no_grad():
            self.shift += 0.01
        return self.net(images) + self.shift


def behind_a_variable(net):
    memory = Memory(net, [])  # No part of the module.
    return Wrapped(net, lambda _, images: memory(images))


STATEFUL = {
    "from the first question": lambda net: Memory(net, []),
    "from the 300th": lambda net: Memory(net, [], start=300),
    "by what is left at a quarter of the size": lambda net: Memory(net, [], key=nn.AvgPool2d(4)),
    "by rounded pixels": lambda net: Memory(net, [], key=lambda x: (16 * x).round() / 16),
    "without a gradient": lambda net: Memory(net, [], without_grad=True),
    "in a global": lambda net: Memory(net, GLOBAL),
    "behind a variable": behind_a_variable,
    "stateful detection": lambda net: Memory(net, [], exact=True),
    "a counter": Counting,
    "adaptation": Adapting,
}


def test_only_the_state_check_fails_for_a_stateful_model(undefended):
    model = STATEFUL["from the first question"](undefended)
    images, labels = blobs(24, seed=3)
    threat, loss = ThreatModel(eps=EPS), lambda x: cross_entropy(model(x), labels)
    attacked = pgd(loss, images, threat, steps=10, step_size=EPS / 4)
    with torch.no_grad():
        clean = model(images).argmax(-1) == labels
        assert (model(attacked).argmax(-1) == labels)[clean].all(), "it stands"
    assert caught_by(model, n=24) == {"keeps no state"}


@pytest.fixture
def only_state(only):
    only(batch_independent, stateless)


@pytest.mark.parametrize("kind", STATEFUL)
def test_every_kind_of_state_is_named(undefended, only_state, kind):
    assert "keeps no state" in caught_by(STATEFUL[kind](undefended), n=50)


@pytest.mark.parametrize("kind", ["from the first question", "stateful detection", "a counter"])
def test_a_copy_is_enough_where_no_process_can_be_forked(undefended, only_state, kind, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    assert "keeps no state" in caught_by(STATEFUL[kind](undefended), n=50)


def batch_statistics(net, x):
    return net.body[5](F.batch_norm(net.body[:5](4 * (x - 0.5)), None, None, training=True))


@pytest.mark.parametrize("around", [lambda net, x: net(x) - 0.5 * net(x).mean(0), batch_statistics])
def test_an_answer_that_depends_on_the_batch_is_named(undefended, only_state, around):
    found = findings(Wrapped(undefended, around), n=50)
    assert {check for check, one in found.items() if not one.passed} == {"independent of the batch"}
    assert "transductive" in found["independent of the batch"].explanation


def test_batch_statistics_end_no_check(undefended):
    assert len(findings(Wrapped(undefended, batch_statistics), n=15)) == len(CHECKS)


def test_a_random_model_neither_remembers_nor_depends_on_the_batch(undefended, only_state):
    noisy = Wrapped(undefended, lambda net, x: net(x + 0.05 * torch.randn_like(x)))
    assert caught_by(noisy, n=50) == set()
