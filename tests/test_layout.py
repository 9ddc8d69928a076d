"""What docs/architecture.md promises of the layout, besides what import-linter checks."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_few_modules_are_outside_a_package():
    loose = {path.stem for path in (ROOT / "src" / "zsrobust").glob("*.py")}
    assert len(loose - {"__init__"}) <= 5


def test_the_layers_name_every_package_on_twelve_lines():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    [layers] = re.findall(r"^layers = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    packages = {path.parent.name for path in (ROOT / "src" / "zsrobust").glob("*/__init__.py")}
    assert len(layers.splitlines()) <= 12
    assert set(re.findall(r"zsrobust\.(\w+)", layers)) == packages
