import json
from dataclasses import dataclass
from pathlib import Path

from zsrobust.utils.plain_json import plain_json


@dataclass
class Point:
    x: float
    path: Path


def test_nan_and_infinity_are_null():
    value = {"a": [1, float("nan"), (float("inf"), "x")], 2: Point(-float("inf"), Path("a/b"))}
    assert json.loads(plain_json(value)) == {
        "a": [1, None, [None, "x"]],
        "2": {"x": None, "path": "a/b"},
    }
    assert plain_json({"ok": True, "no": None, "x": 0.5}) == '{"ok": true, "no": null, "x": 0.5}'
