"""The search for a better loss: what may be chosen, on what, and at what price."""

from dataclasses import replace

from zsrobust.data.registry import open_set
from zsrobust.errors import RequestError
from zsrobust.reproduce import screened, tuning
from zsrobust.reproduce.candidates import CANDIDATES, NEGATIVES
from zsrobust.reproduce.methods import PAPER, TECOA
from zsrobust.reproduce.run import reproduce
from zsrobust.reproduce.screened import CHOSEN_ON, Screened
from zsrobust.reproduce.world import glyphs
from zsrobust.sweep.cost import passes_per_step


def test_no_candidate_costs_more_than_pmg_aft():
    base = glyphs().base
    budget = passes_per_step(PAPER.of(base, 1e-3))
    assert budget == 11
    made = {one.name: one.of(base, 1e-3) for one in CANDIDATES}
    assert all(passes_per_step(one) * one.steps <= budget * 300 for one in made.values())
    dearer = [name for name, one in made.items() if passes_per_step(one) > budget]
    assert dearer == ["keep-strong"], "a stronger attack in fewer steps alone"


def test_a_stronger_attack_is_paid_for_with_steps():
    (strong,) = [one for one in CANDIDATES if one.attack]
    config = strong.of(glyphs().base, 1e-3)
    # Of 15 passes a step: two a step of PGD-4, three for each view of the student, one for T.
    assert (config.attack.steps, config.steps, config.evaluate_every) == (4, 220, 220)


def test_what_is_chosen_on_is_a_part_of_the_suite():
    assert len(CHOSEN_ON) == len(set(CHOSEN_ON)) == 3
    assert set(CHOSEN_ON) < set(_expanded())


def test_no_negative_is_a_word_of_a_class():
    words = set()
    for spec in (*_expanded(), "glyph:training"):
        for split in ("test", "train"):
            try:
                names = open_set(spec, split).class_names
            except RequestError:
                continue
            words |= {word for name in names for word in name.split()}
    assert len(words) > 200
    assert words.isdisjoint({word for name in NEGATIVES for word in name.split()} - {"on", "the"})


def _expanded():
    from zsrobust.data.suites import expand

    return expand(["glyphs"])


def test_each_model_stands_beside_its_interpolation(world, tmp_path, monkeypatch):
    monkeypatch.setattr(screened, "PRESETS", (PAPER,))
    monkeypatch.setattr(screened, "CANDIDATES", CANDIDATES[:1])
    monkeypatch.setattr(tuning, "FARTHEST", 1)
    chosen_on = world.pgd.data[:1]
    found = reproduce(Screened(replace(world, seeds=(0,)), tmp_path / "out", chosen_on))
    assert found.missing == {"screen": 0}
    table = found.text.partition("## screen\n")[2]
    for title in (TECOA.title, PAPER.title, CANDIDATES[0].title):
        assert f"| {title} |" in table
        assert f"| {title}, WiSE-FT at 0.8 |" in table
    assert "| 12 |" in table, "the images of the one set alone"
