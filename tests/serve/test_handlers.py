import html
import re

import pytest
from PIL import Image

from zsrobust.serve.handlers import Handlers
from zsrobust.serve.limits import Limits


@pytest.fixture
def handlers(served):
    return Handlers(served, Limits())


def test_a_prediction_has_the_likeliest_classes_of_each_model(handlers, asked, bishop):
    shown = handlers.predict(asked())
    assert shown.status == ""
    assert len(shown.columns) == 2
    for column in shown.columns:
        assert len(column.before) == 5
        assert set(column.before) <= set(bishop.class_names)
        assert column.after is column.attacked is column.change is None
    assert next(iter(shown.columns[0].before)) == "chess bishop"


def test_names_that_a_model_does_not_tell_apart_are_said_to_be_so(handlers, asked):
    shown = handlers.predict(asked(class_names="elephant, locomotive, chess bishop"))
    assert "glyph-clip cannot tell apart: elephant, locomotive." in shown.status


def test_names_that_are_one_to_a_model_are_one_class_without_a_verdict(handlers, asked, served):
    names = "elephant, locomotive, dog, submarine, chess bishop"
    shown = handlers.predict(asked(class_names=names))
    alike = "elephant = locomotive = dog = ..."
    assert set(shown.columns[0].before) == {alike, "chess bishop"}
    assert sum(shown.columns[0].before.values()) == pytest.approx(1)
    assert len(shown.columns[1].before) == 5
    assert f"Of the models here, {served[1].name} can read all" in shown.status
    names = "elephant, locomotive"
    for target in ("", "locomotive"):
        *_, last = handlers.attack(asked(class_names=names, target=target, steps=2), "visitor")
        status = html.unescape(last.status)
        assert "fooled glyph-clip cannot be said" in status
        assert not re.search("glyph-clip (fell|stands|says|does not say|said)", status)
        assert f"{served[1].name} " in status
        assert "elephant = locomotive 100%" in last.table
        assert last.columns[0].after == {"elephant = locomotive": pytest.approx(1)}
    # A class of its own falls, or not, as ever.
    *_, last = handlers.attack(asked(class_names="elephant, dog, chess bishop"), "visitor")
    assert re.search("glyph-clip (fell|stands): chess bishop", last.status)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("n01443537, n02124075", "2 of the 2 class names of this list are codes"),
        ("class_1, class_2, dog", "2 of the 3 class names of this list are codes"),
        ("1. dog, 2. cat", "A code stands before every class name"),
        ("0, 1, 2", ""),
        ("dog, boeing 737", ""),
    ],
)
def test_codes_among_names_are_told(handlers, asked, names, told):
    status = html.unescape(handlers.predict(asked(class_names=names)).status)
    assert told in status
    assert ("code" in status) == bool(told)
    assert "names=FILE" not in status


def test_unknown_words_are_told_and_what_to_do_where_no_model_knows_them(served, asked):
    shown = Handlers(served[:1], Limits()).predict(asked(class_names="elephant, chess bishop"))
    status = html.unescape(shown.status)
    assert "does not know words of 1 of 2 class names" in status
    assert "cannot tell apart" not in status
    assert "No model here can read all of these names" in status
    assert "photo-lite" in status


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"image": None}, "Drop an image first, or choose an example."),
        ({"image": {"path": None, "url": "data:image/png;base64,AA"}}, "Drop an image first"),
        ({"image": "http://127.0.0.1/a.png"}, "Drop an image first"),
        ({"class_names": "cat"}, "Write two class names or more"),
        ({"eps": "40/255"}, "Eps 40/255 is too large: write 16/255 at most."),
        ({"steps": 10_000}, "Steps is 10000: give a whole number from 1 to 200."),
        ({"target": "cow"}, "The target 'cow' is none of the class names"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_nothing_is_done(handlers, asked, changed, words):
    (shown,) = handlers.attack(asked(**changed), "visitor")
    assert 'role="alert"' in shown.status
    assert words in html.unescape(shown.status)


def test_an_attack_ends_with_pictures_a_table_and_files(handlers, asked, served):
    seen = []
    for shown in handlers.attack(asked(), "visitor"):
        if shown.files:
            sizes = {Image.open(path).size for path in shown.files if path.suffix == ".png"}
        seen.append(shown)
    # What was said before the attack stays in view while it is made.
    assert next(iter(seen[0].columns[0].before)) == "chess bishop"
    assert all(column.after is None for column in seen[0].columns)
    assert any("<progress" in shown.status for shown in seen[1:-1])
    assert sizes == {(32, 32)}
    last = seen[-1]
    assert "glyph-clip fell: chess bishop" in last.status
    for column in last.columns:
        assert column.before
        assert column.after
    for words in ("L-inf, eps 4/255", "pgd-5", "steps of 2/255", "white box", "transfer"):
        assert words in last.table
    assert last.table.count("<tr>") == 2 + 2 * len(served)
    assert [path.suffix for path in last.files] == [".png"] * 4 + [".json"]
    # Nothing is left on the disk.
    assert not any(path.exists() for path in last.files)


def test_rounding_and_targets_are_told(handlers, asked):
    *_, last = handlers.attack(asked(target="chess rook", eps="8/255", steps=10), "visitor")
    assert "glyph-clip says chess rook under attack: chess bishop" in last.status
    assert "The attack survives rounding to 8 bits." in last.status
    assert "towards chess rook" in last.table
    *_, last = handlers.attack(asked(target="chess bishop"), "visitor")
    assert "glyph-clip said chess bishop before the attack: choose another target" in last.status


def test_cancelling_is_for_the_visitor_alone(handlers, asked):
    told = handlers.attack(asked(steps=200), "one")
    next(told)
    assert "<progress" in next(told).status
    handlers.cancel("another")
    assert "<progress" in next(told).status
    handlers.cancel("one")
    assert "Cancelled." in list(told)[-1].status
    # And the next attack is none the worse for it.
    *_, last = handlers.attack(asked(steps=1), "one")
    assert last.table


def test_a_full_line_sends_away_with_a_word(served, asked):
    handlers = Handlers(served, Limits(waiting=0))
    first = handlers.attack(asked(steps=200), "one")
    next(first)
    next(first)
    *_, second = handlers.attack(asked(), "two")
    assert "try again in a minute" in second.status
    first.close()
    *_, last = handlers.attack(asked(steps=1), "two")
    assert last.table


def test_what_no_visitor_can_mend_is_logged_and_not_shown(handlers, asked, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr("zsrobust.serve.handlers.compare", broken)
    *_, last = handlers.attack(asked(), "visitor")
    assert "secret" not in last.status
    assert "the server's terminal says what" in html.unescape(last.status)
    assert "a secret path" in caplog.text


def test_words_of_visitors_stay_words(handlers, asked):
    names = "<script>alert(1)</script>, <img src=x onerror=alert(1)>"
    *_, last = handlers.attack(asked(class_names=names, steps=1), "visitor")
    assert "<script" not in last.status + last.table
    assert "<img" not in last.status + last.table
    assert "&lt;" in last.table
