"""What a run trains on besides images and labels: a radius that grows, names that no image has."""

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.objectives import PMGAFT
from zsrobust.training.finetune import finetune, trainer_of
from zsrobust.training.schedule import attack_share
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


@given(st.integers(1, 50))
def test_the_share_grows_evenly_to_all_of_the_radius(warmup):
    shares = [attack_share(step, warmup) for step in range(2 * warmup)]
    assert shares[0] == pytest.approx(1 / warmup)
    steps = [after - before for before, after in itertools.pairwise(shares[:warmup])]
    assert steps == pytest.approx([1 / warmup] * (warmup - 1))
    assert set(shares[warmup - 1 :]) == {1.0}
    assert attack_share(0, 0) == 1


@pytest.fixture
def seen(monkeypatch):
    """Attacks and class names of every crafting."""
    found = []
    craft = PMGAFT.craft

    def recorded(self, models, batch, attack, *more):
        found.append((attack, models.classifier.class_names))
        return craft(self, models, batch, attack, *more)

    monkeypatch.setattr(PMGAFT, "craft", recorded)
    return found


def test_the_attack_of_a_step_has_its_share_of_radius_and_step_size(config, seen):
    whole = config("plain", steps=4)
    finetune(whole)
    plain = [attack for attack, _ in seen]
    seen.clear()
    finetune(config("growing", steps=4, eps_warmup_steps=2))
    growing = [attack for attack, _ in seen]
    assert [one.threat.eps for one in plain] == [whole.attack.eps] * 4
    assert [one.threat.eps / whole.attack.eps for one in growing] == pytest.approx([0.5, 1, 1, 1])
    assert [one.resolved_step_size / plain[0].resolved_step_size for one in growing] == (
        pytest.approx([0.5, 1, 1, 1])
    )
    assert growing[1:] == plain[1:], "at the whole radius it is the very attack"


def test_negatives_are_classes_of_the_loss_and_of_nothing_else(config, seen, tmp_path):
    finetune(config("plain", steps=1))
    finetune(config("negatives", steps=1, negatives=["a nebula", "a teapot"]))
    (_, plain), (_, more) = seen
    assert more == (*plain, "a nebula", "a teapot")
    losses = {}
    for name in ("plain", "negatives"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses[name] = next(row["total"] for row in map(json.loads, lines) if "total" in row)
    assert losses["negatives"] > losses["plain"], "more classes share the probability"


def test_names_that_are_one_to_the_model_are_refused_or_told(config, seen, capsys):
    with pytest.raises(RequestError, match="cannot tell apart 4 of the 6 classes"):
        finetune(config("run", negatives=["CLASS 1", "Class 2"]))
    assert seen == []
    finetune(config("run", steps=1, negatives=["Class 1"]))
    said = [line for line in capsys.readouterr().err.splitlines() if "cannot tell" in line]
    assert len(said) == 1
    assert re.search("^warning: photos: .* cannot tell apart: class 1, Class 1$", said[0])


def test_what_is_evaluated_knows_the_classes_alone(config, tmp_path):
    asked = config("run", steps=1, negatives=["a nebula"])
    trainer = trainer_of(asked, tmp_path / "run", make_accelerator("cpu"))
    assert "a nebula" not in trainer.classifier.class_names
    assert "a nebula" in trainer.step.models.classifier.class_names


@pytest.mark.parametrize("names", [["a nebula", "a nebula"], "classes"])
def test_a_negative_is_named_once_and_is_no_class(config, seen, names):
    if names == "classes":
        finetune(config("plain", steps=1))
        names = [seen[0][1][0]]
    with pytest.raises(RequestError, match="name each class once, none of the data's"):
        finetune(config("other", steps=1, negatives=names))


@pytest.mark.parametrize("changes", [{"eps_warmup_steps": -1}, {"negatives": [""]}])
def test_values_that_make_no_sense_are_refused(config, changes):
    with pytest.raises(RequestError, match=next(iter(changes))):
        config("run", **changes)
