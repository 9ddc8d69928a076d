"""Every family of towers that open_clip has is loaded, attacked and trained.

In processes of their own, since what is wrong with a layout in memory ends the process.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
from PIL import Image
from tests.training.train_each_family import SMALL, TEXT

from zsrobust.training.metrics import read_metrics

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("train_each_family.py")


def families(architecture):
    """What builds its towers: timm's module or open_clip's class, and other kinds of text side."""
    config = open_clip.get_model_config(architecture)
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "timm_model_name" in vision:
        tower = timm.models.model_entrypoint(vision["timm_model_name"]).__module__
    else:
        tower = "ResNet" if isinstance(vision["layers"], list) else "ViT"
    kinds = {"CoCa": "multimodal_cfg" in config, "Hugging Face": "hf_model_name" in text}
    return {tower, *(kind for kind, is_it in kinds.items() if is_it)}


def test_a_small_model_stands_for_every_family():
    found = set.union(*map(families, open_clip.list_models()))
    assert found == set.union(*map(families, SMALL))


@pytest.fixture(scope="module")
def text_tower(tmp_path_factory):
    """A cache of the hub with a small text tower and its tokenizer in it."""
    hub = tmp_path_factory.mktemp("hub")
    repository = hub / f"models--{TEXT.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    (snapshot / "vocab.txt").write_text("\n".join([*letters, *(f"##{c}" for c in letters[5:])]))
    sizes = {"hidden_size": 32, "intermediate_size": 64, "vocab_size": 57}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2}
    for file, content in {
        "config.json": {"model_type": "bert", **sizes, **layers},
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
    }.items():
        (snapshot / file).write_text(json.dumps(content))
    return hub


@pytest.fixture(scope="module")
def runs(tmp_path_factory, text_tower):
    """The folder of the runs, and what they said."""
    folder = tmp_path_factory.mktemp("families")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    for index, image in enumerate(pixels):
        place = folder / "data" / ("cat", "dog")[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index}.png")
    run = subprocess.run(
        [sys.executable, PROGRAM, f"imagefolder:{folder / 'data'}", folder / "runs"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(text_tower)},
    )
    return folder / "runs", run.stderr


@pytest.mark.parametrize("architecture", SMALL)
def test_loads_is_attacked_and_trains(runs, architecture):
    folder, said = runs
    assert json.loads((folder / "statuses.json").read_text())[architecture] == 0, said
    rows = read_metrics(folder / architecture / "metrics.jsonl")
    (step,) = [row for row in rows if row["kind"] == "train"]
    assert math.isfinite(step["total"])
    assert step["grad_norm"] > 0
    assert "adversarial_acc" in step
    assert rows[-1]["relative_l2_distance"] > 0
