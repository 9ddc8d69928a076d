"""Attacks of the user's own: decorated functions and classes, in this process or in a file."""

import pytest
import torch

from zsrobust.attacks import ThreatModel, make_attack, register_attack
from zsrobust.attacks.base import REGISTERED
from zsrobust.utils.errors import Diverged, RequestError, RunError
from zsrobust.utils.own_code import code_of

FILE = """
from dataclasses import dataclass
import torch
from helper import LEVELS
from zsrobust.attacks import Attack, ThreatModel, register_attack


@register_attack("brighter")
def brighter(classifier, images, labels, eps, steps=2):
    return images + LEVELS * steps / 255


@register_attack("random")
def random(classifier, images, labels, eps):
    return images + eps * (2 * torch.rand_like(images) - 1)


@register_attack("broken")
def broken(classifier, images, labels, eps):
    return images[:, 7]


@register_attack(r"darker-(?P<levels>\\d+)", "darker-1")
@dataclass(frozen=True)
class Darker(Attack):
    threat: ThreatModel
    levels: int = 1

    @property
    def name(self):
        return f"darker-{self.levels}"

    @property
    def passes(self):
        return 0

    def perturb(self, classifier, images, labels, sample_ids, epoch):
        return self.threat.project(images, images - self.levels / 255)
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """The file ``mine.py`` in the current folder; what tests register goes again."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "helper.py").write_text("LEVELS = 1")
    registered = list(REGISTERED)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "mine.py"
    REGISTERED[:] = registered


def attacked(name, classifier, samples, eps=4 / 255, n=8, **options):
    images, labels, ids = samples(n)
    images = images * 0.8 + 0.1
    found = make_attack(name, ThreatModel(eps=eps), **options)(classifier(), images, labels, ids)
    return images, found


def test_a_function_in_a_file_with_its_steps(classifier, samples):
    for name, levels in (("brighter", 2), ("brighter-3", 3), ("brighter-9", 4)):
        images, found = attacked(f"mine.py:{name}", classifier, samples)
        # Nine levels are projected to four, the radius.
        assert torch.allclose(found, images + levels / 255)
    made = make_attack("mine.py:brighter-3", ThreatModel())
    assert made.name == "brighter-3"
    assert made.describe()["file"] == "mine.py"
    assert make_attack("mine.py:brighter", ThreatModel()).name == "brighter-2"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_function_is_told_the_norm_and_the_threat_model_it_asks_for(norm, classifier, samples):
    told = []

    @register_attack("told")
    def told_attack(classifier, images, labels, eps, norm, *, threat, steps=2):
        told.append((eps, norm, threat, steps))
        return threat.step(images, images, torch.ones_like(images), eps)

    threat = ThreatModel(norm, 0.25)
    images, labels, ids = samples(3)
    found = make_attack("told-5", threat)(classifier(), images / 2, labels, ids)
    assert told == [(0.25, norm, threat, 5)]
    distance = (found - images / 2).flatten(1).norm(float("inf") if norm == "linf" else 2, dim=1)
    assert torch.allclose(distance, torch.tensor(0.25))


def test_a_class_in_a_file_and_the_worst_of_several(classifier, samples):
    images, found = attacked("mine.py:darker-3", classifier, samples)
    assert torch.allclose(found, images - 3 / 255)
    made = make_attack("mine.py:darker-1+pgd-2+mine.py:brighter", ThreatModel())
    assert made.name == "darker-1+pgd-2+brighter-2"
    assert [part.name for part in made.parts] == ["darker-1", "pgd-2", "brighter-2"]


def test_random_numbers_are_keyed_by_seed_and_samples(classifier, samples):
    torch.manual_seed(0)
    images, first = attacked("mine.py:random", classifier, samples)
    state = torch.random.get_rng_state()
    _, again = attacked("mine.py:random", classifier, samples)
    assert torch.equal(first, again)
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(attacked("mine.py:random", classifier, samples, seed=1)[1], first)
    assert (first - images).abs().max() <= 4 / 255 + 1e-6


def test_a_changed_file_is_another_attack(own):
    before = make_attack("mine.py:brighter", ThreatModel())
    code = code_of(["mine.py:brighter"], [])
    own.write_text(FILE.replace("steps / 255", "steps / 250"))
    after = make_attack("mine.py:brighter", ThreatModel())
    assert before.describe()["sha256"] != after.describe()["sha256"]
    with pytest.raises(RequestError, match=r"code: mine.py is not as this configuration recorded"):
        code_of(["mine.py:brighter"], code)


def test_errors_name_file_and_line(own, classifier, samples):
    line = FILE.splitlines().index("    return images[:, 7]") + 1
    with pytest.raises(RunError, match=rf"attack broken fails in mine.py, line {line}: IndexErr"):
        attacked("mine.py:broken", classifier, samples)
    own.write_text("import zsrobust\nfoo(3)\n")
    with pytest.raises(RequestError, match=r"mine.py, line 2: NameError: name 'foo'"):
        make_attack("mine.py:x", ThreatModel())
    own.write_text("def (\n")
    with pytest.raises(RequestError, match=r"mine.py, line 1: SyntaxError"):
        make_attack("mine.py:x", ThreatModel())


REFUSED = {
    "gone.py:x": "there is no file gone.py",
    "mine.py:brigther": r"did you mean mine.py:brighter-2\?",
    "mine.py:pgd-10": "it registers .*darker-1",
    "mine.py:brighter-0": "attack.steps is 0",
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_names_are_refused(name):
    with pytest.raises(RequestError, match=REFUSED[name]):
        make_attack(name, ThreatModel())


def test_names_in_a_file_are_known_there_alone():
    make_attack("mine.py:brighter", ThreatModel())
    with pytest.raises(RequestError, match="there is no attack 'brighter'"):
        make_attack("brighter", ThreatModel())


def test_in_python_the_name_alone_is_enough(classifier, samples):
    for offset in (1, 2):  # As the cell of a notebook that is run again.

        @register_attack("own-shift")
        def shift(classifier, images, labels, eps, by=offset):
            return images + by / 255

    images, found = attacked("own-shift", classifier, samples)
    assert torch.allclose(found, images + 2 / 255)
    with pytest.raises(RequestError, match="the name pgd-10 is taken"):
        register_attack("pgd-10")(shift)


def test_what_a_function_may_take_and_return(classifier, samples):
    with pytest.raises(RequestError, match="what short takes"):

        @register_attack("own-short")
        def short(classifier, images): ...

    @register_attack("own-nan")
    def nan(classifier, images, labels, eps):
        return images * float("nan")

    with pytest.raises(Diverged, match="attack own-nan returns a pixel that is NaN"):
        attacked("own-nan", classifier, samples)

    @register_attack("own-nothing")
    def nothing(classifier, images, labels, eps): ...

    with pytest.raises(RequestError, match="what attack own-nothing returns is NoneType"):
        attacked("own-nothing", classifier, samples)

    @register_attack("own-bytes")
    def eight_bits(classifier, images, labels, eps):
        return (255 * images).byte()

    with pytest.raises(RequestError, match=r"what attack own-bytes returns is torch\.uint8"):
        attacked("own-bytes", classifier, samples)
    with pytest.raises(RequestError, match="did you mean own-bytes"):
        attacked("own-byte", classifier, samples)
