"""The tutorial's code makes its data sets; the guide to evaluation names every check."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from zsrobust.attacks import ThreatModel
from zsrobust.data.registry import open_set
from zsrobust.evaluation.checks.diagnostics import CHECKS
from zsrobust.evaluation.checks.sanity import sanity

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "evaluation.md").read_text("utf-8")


@pytest.mark.slow
def test_the_tutorial_s_images_are_what_its_commands_read(tmp_path, monkeypatch):
    code = re.findall(r"```python\n(.*?)```", (DOCS / "tutorial.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code[0], "tutorial.md", "exec"), {})
    train = open_set("csv:own/signs.csv,resolution=32", "train")
    test = open_set("csv:own/signs.csv,resolution=32", "test")
    shapes = open_set("imagefolder:own/shapes,resolution=32", "test")
    assert (len(train), len(test), len(shapes)) == (2000, 400, 280)
    assert train.class_names == test.class_names
    assert not set(train.sample_ids) & set(test.sample_ids)
    assert not set(train.class_names) & set(shapes.class_names)
    assert {images.read_rgb(0).size for images in (train, test, shapes)} == {(32, 32)}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_every_check_of_results_is_in_the_guide(check):
    names = set(re.findall(r'(?:passed|Finding)\(\s*"([^"]+)"', inspect.getsource(check)))
    assert len(names) == 1
    assert f"| `{names.pop()}` |" in GUIDE


def test_every_check_of_models_is_in_the_guide():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()
    images = torch.rand(12, 3, 4, 4)
    labels = model(images).argmax(-1)
    ids = [str(index) for index in range(12)]
    found = sanity(model, images, labels, ids, ThreatModel(eps=1 / 255))
    assert len(found) == 12
    assert [one.check for one in found if f"| `{one.check}` |" not in GUIDE] == []
