"""The per-sample worst case: verdicts of everything, at the cost of the samples still correct."""

import pytest
import torch

from zsrobust.attacks import Ensemble, LibraryAttack, ThreatModel, make_attack
from zsrobust.utils.errors import RequestError

THREAT = ThreatModel(eps=0.02)


class Watched:
    """An attack that notes which samples it was given."""

    def __init__(self, attack):
        self.attack, self.seen = attack, []
        self.name, self.threat, self.chunk = attack.name, attack.threat, attack.chunk
        self.describe = attack.describe

    def __call__(self, classifier, images, labels, sample_ids, epoch):
        self.seen.append(list(sample_ids))
        return self.attack(classifier, images, labels, sample_ids, epoch)


def test_verdicts_are_those_of_every_part_on_everything(of_classes):
    model, images, labels, ids = of_classes(5, n=60)
    names = ["noise-3", "pgd-1", "pgd-10-targeted"]
    parts = [Watched(make_attack(name, THREAT)) for name in names]
    found = Ensemble("three", tuple(parts))(model, images, labels, ids)
    robust = model(found).argmax(-1) == labels

    everything = [make_attack(name, THREAT)(model, images, labels, ids) for name in names]
    each = torch.stack([model(result).argmax(-1) == labels for result in everything])
    assert torch.equal(robust, each.all(0))
    assert 0 < robust.sum() < each.sum(1).min() + 1

    # Each part met exactly those that stood against all before it, and gave the image.
    standing = torch.ones(60, dtype=torch.bool)
    expected = torch.zeros_like(images)
    for part, result, still in zip(parts, everything, each, strict=True):
        assert part.seen == [[ids[row] for row in standing.nonzero().flatten().tolist()]]
        expected[standing] = result[standing]
        standing &= still
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    counts = [len(part.seen[0]) for part in parts]
    assert 60 == counts[0] > counts[1] > counts[2] > 0


def test_a_part_with_nothing_left_is_not_called(of_classes):
    model, images, labels, ids = of_classes(3)
    parts = [Watched(make_attack(name, ThreatModel(eps=0.9))) for name in ("pgd-10", "noise-1")]
    Ensemble("two", tuple(parts))(model, images, labels, ids)
    assert len(parts[0].seen) == 1
    assert parts[1].seen == []


def test_is_nowhere_weaker_than_the_parts_it_names(of_classes, quick):
    model, images, labels, ids = of_classes(5, n=60)

    def standing(name):
        found = quick(name, ThreatModel(eps=0.01))(model, images, labels, ids)
        return model(found).argmax(-1) == labels

    # The first part draws alike alone and in company.
    whole, first = standing("apgd-ce+apgd-dlr"), standing("apgd-ce")
    assert 0 < whole.sum() < 60
    assert not (whole & ~first).any()


def test_names_describe_and_disagreements():
    attack = make_attack("autoattack", THREAT, seed=3)
    assert [part.name for part in attack.parts] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert (attack.name, attack.chunk, attack.threat) == ("autoattack", 100, THREAT)
    described = attack.describe()
    assert [part["seed"] for part in described["parts"]] == [3, 3, 3, 3]
    assert make_attack("pgd-5+cw-5", THREAT).chunk is None
    assert make_attack("pgd-5+square", THREAT).name == "pgd-5+square"

    pgd = make_attack("pgd-1", THREAT)
    for parts, message in [
        ((), "parts is empty"),
        ((pgd, make_attack("pgd-1", ThreatModel(eps=0.5))), "threat models is 2"),
        (
            (LibraryAttack("fab-t", THREAT, chunk=7), LibraryAttack("square", THREAT)),
            "must be one for all parts",
        ),
    ]:
        with pytest.raises(RequestError, match=message):
            Ensemble("odd", parts)
