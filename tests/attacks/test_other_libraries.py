"""On the same trained model and samples no attack here leaves more standing than theirs.

Beyond chance, that is: the 95 % interval of the paired difference must reach 0.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from zsrobust.attacks import PGD, ThreatModel, make_attack

EPS = {"linf": 0.03, "l2": 0.35}
N = 200


@pytest.fixture
def trained(classifier):
    """The small network after some training on five noisy patterns, and fresh samples."""
    model = classifier()
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(5, 3, 6, 6, generator=generator)

    def draw(n):
        labels = torch.randint(5, (n,), generator=generator)
        noise = torch.randn(n, 3, 6, 6, generator=generator)
        return (0.35 + 0.3 * patterns[labels] + 0.15 * noise).clamp(0, 1), labels

    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        images, labels = draw(64)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.eval()
    images, labels = draw(2 * N)
    right = (model(images).argmax(-1) == labels).nonzero().flatten()[:N]
    assert len(right) == N
    return model, images[right], labels[right], [str(index) for index in range(N)]


def compare(ours, theirs):
    """``ours`` and ``theirs`` say which samples stand."""
    n = len(theirs)
    assert 0.05 * n < theirs.sum() < 0.95 * n, "a comparison that could not fail"
    worse, better = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    difference = (worse - better) / n
    deviation = math.sqrt(max(worse + better - (worse - better) ** 2 / n, 0)) / n
    assert difference - 1.96 * deviation <= 0, (worse, better)


def standing(model, found, labels):
    return model(found).argmax(-1) == labels


def best_other(logits, labels):
    return (logits - 1e9 * F.one_hot(labels, logits.shape[1])).max(1).values


def margin_loss(logits, labels):
    return best_other(logits, labels) - logits[torch.arange(len(labels)), labels]


def dlr_loss(logits, labels):
    ranked = logits.sort(1).values
    return margin_loss(logits, labels) / (ranked[:, -1] - ranked[:, -3] + 1e-12)


def cross_entropy_loss(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("pgd-20", cross_entropy_loss),
        ("cw-20", margin_loss),
        ("pgd-20-dlr", dlr_loss),
        ("pgd-20-targeted", cross_entropy_loss),
    ],
)
def test_foolbox_pgd_on_the_same_loss(trained, norm, name, loss):
    foolbox = pytest.importorskip(
        "foolbox", reason="needs foolbox, GitPython and the git command", exc_type=ImportError
    )
    eagerpy = pytest.importorskip("eagerpy")
    model, images, labels, ids = trained
    eps = EPS[norm]

    class Theirs({"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]):
        def get_loss_fn(self, bounded, given_labels):
            return lambda x: eagerpy.astensor(loss(bounded(x).raw, given_labels.raw).sum())

    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, found, _ = Theirs(steps=20, abs_stepsize=eps / 8)(
            foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=eps
        )
    ours = make_attack(name, ThreatModel(norm, eps), step_size=eps / 8)
    compare(
        standing(model, ours(model, images, labels, ids), labels), standing(model, found, labels)
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_torchattacks_pgd(trained, norm):
    torchattacks = pytest.importorskip("torchattacks")
    model, images, labels, ids = trained
    eps = EPS[norm]
    attack = {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[norm]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = attack(model, eps=eps, alpha=eps / 8, steps=20)(images, labels)
    ours = PGD(ThreatModel(norm, eps), steps=20, step_size=eps / 8)
    compare(
        standing(model, ours(model, images, labels, ids), labels), standing(model, found, labels)
    )


@pytest.mark.parametrize(
    ("name", "norm", "loss"),
    [
        ("apgd-ce", "linf", "ce"),
        ("apgd-ce", "l2", "ce"),
        ("apgd-dlr", "linf", "dlr"),
        ("apgd-dlr", "l2", "dlr"),
        # In l2 torchattacks draws other squares than the authors' code and pyautoattack.
        ("square", "linf", ""),
    ],
)
def test_torchattacks_apgd_and_square(trained, quick, name, norm, loss):
    torchattacks = pytest.importorskip("torchattacks")
    model, images, labels, ids = trained
    library = {"linf": "Linf", "l2": "L2"}[norm]
    # APGD fells nearly all at the radius of the tests above in l2.
    eps = {"linf": EPS["linf"], "l2": 0.33}[norm]
    threat = ThreatModel(norm, eps)
    theirs, halves = [], []
    # One draw of either decides by chance which of them is ahead.
    for seed in range(4):
        options = {"norm": library, "eps": eps, "seed": seed}
        if name == "square":
            attack = torchattacks.Square(model, n_queries=60, resc_schedule=False, **options)
        else:
            attack = torchattacks.APGD(model, steps=12, loss=loss, **options)
        with torch.random.fork_rng():
            theirs.append(standing(model, attack(images, labels), labels))
        ours = quick(name, threat, seed=seed)
        for part in (slice(0, 100), slice(100, 200)):
            found = ours(model, images[part], labels[part], ids[part])
            halves.append(standing(model, found, labels[part]))
    compare(torch.cat(halves), torch.cat(theirs))
