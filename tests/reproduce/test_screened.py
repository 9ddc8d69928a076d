"""The search for a better loss: what may be chosen, on what, and at what price."""

import pytest

from zsrobust.data.registry import open_set
from zsrobust.reproduce import screened, tuning
from zsrobust.reproduce.candidates import CANDIDATES, NEGATIVES
from zsrobust.reproduce.methods import FT_CLEAN, PAPER, TECOA
from zsrobust.reproduce.run import reproduce
from zsrobust.reproduce.screened import CHOSEN_ON, Screened
from zsrobust.reproduce.world import glyphs
from zsrobust.sweep.cost import passes_per_step
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


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


@pytest.fixture
def small(world, tmp_path, monkeypatch):
    """The search with one preset and two candidates, one looked at on the first of two sets."""
    monkeypatch.setattr(screened, "PRESETS", (PAPER,))
    monkeypatch.setattr(screened, "KNOWN", (TECOA, PAPER))
    monkeypatch.setattr(screened, "FIELD", (TECOA, PAPER, FT_CLEAN))
    monkeypatch.setattr(screened, "CANDIDATES", CANDIDATES[:2])
    monkeypatch.setattr(screened, "CHOSEN", CANDIDATES[1])
    monkeypatch.setattr(screened, "LOOKED_AT", 1)
    monkeypatch.setattr(screened, "IN_THE_DUEL", 7)
    monkeypatch.setattr(tuning, "FARTHEST", 1)
    return Screened(world, tmp_path / "out", world.pgd.data[:1])


def _rows(text, title):
    table = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    return {cells[0]: dict(zip(header, cells, strict=True)) for cells in rows}


def test_candidates_are_compared_on_their_sets_and_the_chosen_one_on_the_rest(small):
    found = reproduce(small)
    assert set(found.missing.values()) == {0}
    # Sets of 12 and of 10 images.
    screen = _rows(found.text, "screen")
    scores = small.search.scores()
    best = max(CANDIDATES[:2], key=lambda one: max(scores[one.name].values()))
    titles = [TECOA.title, PAPER.title, best.title]
    assert list(screen) == [
        "original",
        *titles,
        *(f"{title}, WiSE-FT at 0.8" for title in titles),
    ]
    assert {(row["n"], row["seeds"]) for row in screen.values()} == {("12", "1")}
    for title, column in (("rest", "pgd-2 4/255"), ("rest autoattack", "pgd-3 4/255")):
        rest = _rows(found.text, title)
        assert list(rest) == ["original", *titles[:2], CANDIDATES[1].title]
        n = "10" if title == "rest" else "4"
        assert {row["n"] for row in rest.values()} == {n}
        assert rest[CANDIDATES[1].title]["seeds"] == "2"
        assert rest[CANDIDATES[1].title][f"{column} against {PAPER.title}"]
    duel = _rows(found.text, "rest duel")
    assert list(duel) == ["original", PAPER.title, CANDIDATES[1].title]
    assert {(row["n"], row["seeds"]) for row in duel.values()} == {("7", "1"), ("7", "2")}
    assert duel[CANDIDATES[1].title][f"pgd-3 4/255 against {PAPER.title}"]
    field = _rows(found.text, "rest field")
    assert list(field) == ["original", *titles[:2], FT_CLEAN.title, CANDIDATES[1].title]
    assert {(row["n"], row["seeds"]) for row in field.values()} == {("10", "1")}
