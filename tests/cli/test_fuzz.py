"""The campaign of scripts/fuzz.py in a reduced form, and that it finds what there is to find."""

import importlib.util
import random
import sys
import warnings
from pathlib import Path

import pytest

from zsrobust.utils.errors import RequestError, RunError

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    specification = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_case_is_taken_or_refused_in_a_sentence(fuzz, tmp_path):
    found = []
    with warnings.catch_warnings():
        # Of Pillow, about damaged metadata.
        warnings.simplefilter("ignore")
        ended = fuzz.campaign(range(300), 1, tmp_path, found.append)
    assert found == []
    assert sum(ended.values()) == 300
    for target in {name for name, _ in ended}:
        assert ended[target, "refused"], f"{target} breaks nothing"
    assert {name for name, how in ended if how == "taken"} >= {"recipe", "image", "names"}


def test_a_case_is_the_same_each_time(fuzz):
    changed = {fuzz.broken(bytes(100), random.Random("0/7")) for _ in range(3)}
    assert len(changed) == 1


def test_every_kind_of_finding_is_found(fuzz, monkeypatch):
    def fails(error):
        def run():
            raise error

        return fuzz.finding(run)

    assert fails(RequestError("a sentence")) == ("refused", "a sentence")
    assert fails(RunError("a sentence"))[0] == "refused"
    assert fuzz.finding(lambda: None) == ("taken", "")
    for error in (KeyError("x"), SystemExit(2), RecursionError(), RequestError("two\nlines")):
        assert fails(error)[0] == "FOUND"
    assert fuzz.finding(lambda: sys.modules.update({fuzz.CANARY: sys}))[0] == "FOUND"
    assert fuzz.CANARY not in sys.modules
    monkeypatch.setattr(fuzz, "PATIENCE", -1.0)
    assert fuzz.finding(lambda: None)[0] == "FOUND"
