import base64
import html
import io
import re
import time
from threading import Event, Thread

import numpy as np
import pytest
from PIL import Image

from zsrobust.serve.card import card as made_card
from zsrobust.serve.comparison import compare
from zsrobust.serve.handlers import Handlers
from zsrobust.serve.limits import Limits


def bars(card):
    """Class to its probabilities in percent, on the clean and the adversarial image."""
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', card, re.DOTALL)
    return {
        html.unescape(name): [int(n) for n in re.findall(r"<span>(\d+)%</span>", cells)]
        for name, cells in rows
    }


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def pictures(card):
    """The pixels of the card's images by caption."""
    found = re.findall(r'alt="(.*?)" src="data:image/png;base64,(.*?)"', card)
    return {
        caption: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        for caption, data in found
    }


@pytest.fixture
def handlers(served):
    made = Handlers(served, Limits())
    yield made
    made.close()


def test_a_prediction_has_the_likeliest_classes_of_each_model(handlers, form, bishop):
    shown = handlers.predict(form())
    assert shown.status == ""
    assert list(shown.cards) == [0, 1]
    for card in shown.cards.values():
        found = bars(card)
        assert len(found) == 5
        assert set(found) <= set(bishop.class_names)
        assert [len(values) for values in found.values()] == [1] * 5
        clean = np.asarray(bishop.image.convert("RGB"))
        assert list(pictures(card)) == ["Clean"]
        np.testing.assert_array_equal(pictures(card)["Clean"], clean)
    assert next(iter(bars(shown.cards[0]))) == "chess bishop"


def test_indistinguishable_names_are_reported(handlers, form):
    shown = handlers.predict(form(class_names="elephant, locomotive, chess bishop"))
    assert "glyph-clip cannot tell apart: elephant, locomotive." in shown.status


def test_names_that_are_one_to_a_model_are_one_class_without_a_verdict(handlers, form, served):
    names = "elephant, locomotive, dog, submarine, chess bishop"
    shown = handlers.predict(form(class_names=names))
    same = "elephant = locomotive = dog = ..."
    assert set(bars(shown.cards[0])) == {same, "chess bishop"}
    assert sum(value for (value,) in bars(shown.cards[0]).values()) == pytest.approx(100, abs=1)
    assert len(bars(shown.cards[1])) == 5
    status = shown.status.replace("<wbr>", "")
    assert f"Of the models here, {served[1].name} can read all names" in status
    names = "elephant, locomotive"
    for target in ("", "locomotive"):
        *_, last = handlers.attack(form(class_names=names, target=target, steps=2), "visitor")
        status = html.unescape(last.status)
        assert "Attack on glyph-clip: success is undefined" in status
        assert not re.search("Attack on glyph-clip (succeeded|failed)", status)
        status = status.replace("<wbr>", "")
        assert f"{served[1].name} " in status or f"{served[1].name}:" in status
        assert "elephant = locomotive 100%" in last.table
        assert bars(last.cards[0]) == {"elephant = locomotive": [100, 100]}
    # For a class of its own the outcome is defined.
    *_, last = handlers.attack(form(class_names="elephant, dog, chess bishop"), "visitor")
    assert re.search("Attack on glyph-clip (succeeded|failed): chess bishop", last.status)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("n01443537, n02124075", "2 of the 2 class names of this list are codes"),
        ("class_1, class_2, dog", "2 of the 3 class names of this list are codes"),
        ("1. dog, 2. cat", "A code comes before every class name"),
        ("0, 1, 2", ""),
        ("dog, boeing 737", ""),
    ],
)
def test_codes_among_names_are_warned_of(handlers, form, names, told):
    status = html.unescape(handlers.predict(form(class_names=names)).status)
    assert told in status
    assert ("code" in status) == bool(told)
    assert "names=FILE" not in status


def test_unknown_words_are_warned_of(served, form):
    shown = Handlers(served[:1], Limits()).predict(form(class_names="elephant, chess bishop"))
    status = html.unescape(shown.status)
    assert "does not know words of 1 of 2 class names" in status
    assert "cannot tell apart" not in status
    assert "No model here can read all names" in status


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"image": None}, "Choose an image or an example"),
        (
            {"image": {"path": None, "url": "data:image/png;base64,AA"}},
            "Choose an image or an example first.",
        ),
        ({"image": "http://127.0.0.1/a.png"}, "Choose an image or an example"),
        ({"class_names": ""}, "Give at least two class names"),
        ({"class_names": "cat"}, "Give at least two class names"),
        ({"eps": "40/255"}, "Eps 40/255 is too large: give at most 16/255."),
        ({"eps": "8"}, "Eps 8 is too large: give at most 16/255; did you mean 8/255?</p>"),
        ({"steps": 10_000}, "Steps is 10000: give a whole number from 1 to 200."),
        ({"target": "cow"}, "The target class 'cow' is not among"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_nothing_is_done(handlers, form, changed, expected):
    (shown,) = handlers.attack(form(**changed), "visitor")
    assert 'role="alert"' in shown.status
    assert expected in html.unescape(shown.status)
    # Nothing of an attack before it stays on the page.
    assert shown.table == ""
    assert shown.files == []
    assert sorted(shown.cards) == [0, 1]
    assert all(set(pictures(card)) <= {"Clean"} for card in shown.cards.values())


def test_an_attack_is_drawn_while_it_runs_and_ends_with_a_table_and_files(handlers, form, served):
    states = []
    for shown in handlers.attack(form(steps=20), "visitor"):
        if shown.files:
            sizes = {Image.open(path).size for path in shown.files if path.suffix == ".png"}
        states.append(shown)
    first, *frames, last = states
    # The clean predictions stay in view while it runs.
    assert list(first.cards) == [0, 1]
    assert next(iter(bars(first.cards[0]))) == "chess bishop"
    assert first.files == []
    for place in range(len(served)):
        cards = [frame.cards[place] for frame in frames if place in frame.cards]
        steps = [int(re.search(r"Step (\d+) of 20, loss", card)[1]) for card in cards]
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (0, 20)
        assert 10 < len(steps) <= 21
        seen = [pictures(card) for card in cards]
        for caption in ("Adversarial", "Perturbation, magnified"):
            assert len({images[caption].tobytes() for images in seen}) == len(cards)
        assert len({images["Clean"].tobytes() for images in seen}) == 1
        assert len({str(bars(card)) for card in cards}) > 2
        assert all(len(values) == 2 for values in bars(cards[0]).values())
    assert sizes == {(32, 32)}
    assert "Attack on glyph-clip succeeded: chess bishop" in last.status
    for card in last.cards.values():
        assert list(pictures(card)) == ["Clean", "Adversarial", "Perturbation, magnified"]
        assert "Step" not in card
        shown = pictures(card)
        change = shown["Adversarial"].astype(int) - shown["Clean"]
        assert 0 < np.abs(change).max() <= 4
        # White is +eps, black is -eps; both images are rounded to whole levels.
        expected = 127.5 + change * 127.5 / 4
        assert np.abs(shown["Perturbation, magnified"] - expected).max() <= 127.5 / 4 / 2 + 1
    for expected in ("L-inf, eps 4/255", "pgd-20", "step size 0.5/255", "white box", "transfer"):
        assert expected in last.table
    assert last.table.count("<tr>") == 2 + 2 * len(served)
    assert [path.suffix for path in last.files] == [".png"] * 4 + [".json"]
    # Nothing is left on the disk.
    assert not any(path.exists() for path in last.files)


def test_rounding_and_targets_are_shown(handlers, form):
    *_, last = handlers.attack(form(target="chess rook", eps="8/255", steps=10), "visitor")
    assert "Attack on glyph-clip succeeded: chess bishop" in last.status
    assert "It also succeeds after rounding to 8 bits." in last.status
    assert "target chess rook" in last.table
    *_, last = handlers.attack(form(target="chess bishop"), "visitor")
    assert "glyph-clip predicts chess bishop for the clean image" in last.status


def test_cancelling_ends_the_attack_of_that_visitor_alone(handlers, form):
    states = handlers.attack(form(steps=200), "one")
    for shown in states:
        if "Step" in shown.cards.get(0, ""):
            break
    handlers.cancel("another")
    assert "Step" in next(states).cards[0]
    handlers.cancel("one")
    (last,) = states
    assert "Cancelled." in last.status
    # The worker is free for the next attack.
    *_, last = handlers.attack(form(steps=1), "one")
    assert last.table


def test_those_that_wait_are_told_how_many_attacks_are_ahead(handlers, form, monkeypatch):
    go = Event()

    def held(*given):
        assert go.wait(60)
        return compare(*given)

    monkeypatch.setattr("zsrobust.serve.handlers.compare", held)
    visits = [handlers.attack(form(steps=1), visitor) for visitor in ("one", "two", "three")]
    for visit in visits:
        assert "Starting." in next(visit).status
    ended = []
    running = Thread(target=lambda: ended.extend(visits[0]))
    running.start()
    wait_until(lambda: handlers._worker._jobs)
    assert "In queue: 1 attack ahead of you." in next(visits[1]).status
    assert "In queue: 2 attacks ahead of you." in next(visits[2]).status
    handlers.cancel("two")
    assert ["Cancelled." in shown.status for shown in visits[1]] == [True]
    assert "In queue: 1 attack ahead of you." in next(visits[2]).status
    go.set()
    *_, last = visits[2]
    running.join()
    assert last.table
    assert ended[-1].table


def test_internal_errors_are_logged_and_not_shown(handlers, form, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr("zsrobust.serve.handlers.compare", broken)
    *_, last = handlers.attack(form(), "visitor")
    assert "secret" not in last.status
    assert "Internal error" in html.unescape(last.status)
    assert "a secret path" in caplog.text


def test_words_of_visitors_stay_words(handlers, form):
    names = "<script>alert(1)</script>, <img src=x onerror=alert(1)>"
    *_, last = handlers.attack(form(class_names=names, steps=1), "visitor")
    text = last.status + last.table + "".join(last.cards.values())
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;" in last.table


def test_a_long_name_of_a_model_breaks_between_its_parts():
    shown = made_card("my_defences.py:quantise(glyph-clip)")
    assert "my_<wbr>defences.py:<wbr>quantise<wbr>(glyph-clip)" in shown
