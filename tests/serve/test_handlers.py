import html
import re

import pytest
from PIL import Image

from zsrobust.serve.handlers import Handlers
from zsrobust.serve.limits import Limits


def quiet(done, total, sentence):
    pass


@pytest.fixture
def handlers(served):
    return Handlers(served, Limits())


def test_a_prediction_has_the_likeliest_classes_of_each_model(handlers, form, bishop):
    shown = handlers.predict(form())
    assert shown.status == ""
    assert len(shown.columns) == 2
    for column in shown.columns:
        assert len(column.before) == 5
        assert set(column.before) <= set(bishop.class_names)
        assert column.after is column.attacked is column.change is None
    assert next(iter(shown.columns[0].before)) == "chess bishop"


def test_indistinguishable_names_are_reported(handlers, form):
    shown = handlers.predict(form(class_names="elephant, locomotive, chess bishop"))
    assert "glyph-clip cannot tell apart: elephant, locomotive." in shown.status


def test_names_that_are_one_to_a_model_are_one_class_without_a_verdict(handlers, form, served):
    names = "elephant, locomotive, dog, submarine, chess bishop"
    shown = handlers.predict(form(class_names=names))
    same = "elephant = locomotive = dog = ..."
    assert set(shown.columns[0].before) == {same, "chess bishop"}
    assert sum(shown.columns[0].before.values()) == pytest.approx(1)
    assert len(shown.columns[1].before) == 5
    assert f"Of the models here, {served[1].name} can read all" in shown.status
    names = "elephant, locomotive"
    for target in ("", "locomotive"):
        *_, last = handlers.attack(
            form(class_names=names, target=target, steps=2), "visitor", quiet
        )
        status = html.unescape(last.status)
        assert "fooled glyph-clip cannot be decided" in status
        assert not re.search(
            "glyph-clip (was (not )?fooled|predicts|does not predict|predicted)", status
        )
        assert f"{served[1].name} " in status
        assert "elephant = locomotive 100%" in last.table
        assert last.columns[0].after == {"elephant = locomotive": pytest.approx(1)}
    # A class of its own falls, or not, as ever.
    *_, last = handlers.attack(form(class_names="elephant, dog, chess bishop"), "visitor", quiet)
    assert re.search("glyph-clip was (not )?fooled: chess bishop", last.status)


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
    assert "No model here can read all of these names" in status
    assert "photo-lite" in status


@pytest.mark.parametrize(
    ("changed", "expected"),
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
def test_a_wrong_request_is_one_sentence_and_nothing_is_done(handlers, form, changed, expected):
    (shown,) = handlers.attack(form(**changed), "visitor", quiet)
    assert 'role="alert"' in shown.status
    assert expected in html.unescape(shown.status)


def test_an_attack_ends_with_pictures_a_table_and_files(handlers, form, served):
    seen, told = [], []
    for shown in handlers.attack(form(), "visitor", lambda *step: told.append(step)):
        if shown.files:
            sizes = {Image.open(path).size for path in shown.files if path.suffix == ".png"}
        seen.append(shown)
    # The prediction before the attack stays in view while it runs.
    assert next(iter(seen[0].columns[0].before)) == "chess bishop"
    assert all(column.after is None for column in seen[0].columns)
    assert [done for done, _, _ in told] == list(range(5 * len(served)))
    assert {total for _, total, _ in told} == {5 * len(served)}
    assert told[0][2].startswith("Attacking glyph-clip: step 0 of 5, loss ")
    assert sizes == {(32, 32)}
    last = seen[-1]
    assert "glyph-clip was fooled: chess bishop" in last.status
    for column in last.columns:
        assert column.before
        assert column.after
    for expected in ("L-inf, eps 4/255", "pgd-5", "steps of 2/255", "white box", "transfer"):
        assert expected in last.table
    assert last.table.count("<tr>") == 2 + 2 * len(served)
    assert [path.suffix for path in last.files] == [".png"] * 4 + [".json"]
    # Nothing is left on the disk.
    assert not any(path.exists() for path in last.files)


def test_rounding_and_targets_are_shown(handlers, form):
    *_, last = handlers.attack(form(target="chess rook", eps="8/255", steps=10), "visitor", quiet)
    assert "glyph-clip predicts chess rook under attack: chess bishop" in last.status
    assert "The attack survives rounding to 8 bits." in last.status
    assert "towards chess rook" in last.table
    *_, last = handlers.attack(form(target="chess bishop"), "visitor", quiet)
    assert (
        "glyph-clip predicted chess bishop before the attack: choose another target" in last.status
    )


def test_cancelling_ends_the_attack_of_that_visitor_within_a_step(handlers, form):
    told = []

    def cancelling(done, total, sentence):
        told.append(done)
        handlers.cancel("one" if done == 3 else "another")

    *_, last = handlers.attack(form(steps=200), "one", cancelling)
    assert "Cancelled." in last.status
    assert told == [0, 1, 2, 3]
    # And the next attack is none the worse for it.
    *_, last = handlers.attack(form(steps=1), "one", quiet)
    assert last.table


def test_internal_errors_are_logged_and_not_shown(handlers, form, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError("a secret path")

    monkeypatch.setattr("zsrobust.serve.handlers.compare", broken)
    *_, last = handlers.attack(form(), "visitor", quiet)
    assert "secret" not in last.status
    assert "the server's terminal says what" in html.unescape(last.status)
    assert "a secret path" in caplog.text


def test_words_of_visitors_stay_words(handlers, form):
    names = "<script>alert(1)</script>, <img src=x onerror=alert(1)>"
    *_, last = handlers.attack(form(class_names=names, steps=1), "visitor", quiet)
    assert "<script" not in last.status + last.table
    assert "<img" not in last.status + last.table
    assert "&lt;" in last.table
