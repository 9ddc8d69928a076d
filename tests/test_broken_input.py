"""Broken and hostile input, drawn by hypothesis: it is taken, or refused in one sentence.

Nothing else may come of it: no other exception, and no module that it names is imported.
"""

import hashlib
import io
import json
import struct
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from zsrobust.config.parsing import parse_evaluate, parse_finetune
from zsrobust.config.recipes import recipe_names, recipe_path
from zsrobust.data.csv_set import csv_set
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import LOADER_RESIZES
from zsrobust.data.names.name_file import read_names
from zsrobust.data.readers import FileReader
from zsrobust.data.specification import parse_specification
from zsrobust.models.foreign import load_foreign
from zsrobust.models.glyph_clip import load as glyph_clip
from zsrobust.models.weights import load_model_folder, save_model
from zsrobust.training.checkpoint import gather, load_newest, save_checkpoint
from zsrobust.utils.errors import ZSRobustError

pytestmark = pytest.mark.slow

CANARY = "imported_by_hostile_input"
PARSE = {"finetune": parse_finetune, "evaluate": parse_evaluate}
HOSTILE = [
    *("", "~", "null", "true", "-1", "0", "1.5", "nan", ".nan", ".inf", "-.inf", "1e999", "1e-400"),
    *("1/255", "1/0", "0/0", "-1/255", "0x10", "1_000", "2020-01-01", "12:30:45", "1" + 50 * "0"),
    *("1" + 5000 * "0", "9223372036854775808", "[]", "{}", "[1, [2, [3]]]", "[" * 3000),
    *("{a: " * 99, "&a [*a]", "*nothing", "<<: 1", "!!binary aGk=", "!!set {a}", "!unknown x"),
    f"!!python/object/apply:importlib.import_module [{CANARY}]",
    f"!!python/module:{CANARY}",
    *(f"{CANARY}.Thing", f"{{class_path: {CANARY}.Thing}}", f"{{init_args: {{a: {CANARY}}}}}"),
    *("<script>alert(1)</script>", "{}", "{0.__class__}", "{x!r:>99}", "%s%n", "${PATH}", "`id`"),
    *("\x1b[2J", "\0", "\r\n", "\x85", "\u2028", "\u202e", "\ud800", "e\u0301", "x" * 9999),
    *("../../etc/passwd", "/dev/zero", "~root", "C:\\con", "=1+1", "@x", "a\tb", ",", '"', "'"),
]
KEYS = [
    *("model", "data", "out", "method", "attack", "attack.eps", "attack.steps", "eps", "pgd"),
    *("optimizer", "optimizer.lr", "adapter", "adapter.kind", "objective", "objective.alpha"),
    *("ema", "steps", "batch_size", "templates", "seed", "device", "samples", "norm", "config"),
    *("pgd.restarts", "overwrite", "nothing"),
]
hostile = st.sampled_from(HOSTILE) | st.tuples(*2 * [st.sampled_from(HOSTILE)]).map("".join)
tries = settings(max_examples=60, deadline=None)


@contextmanager
def taken_or_refused():
    sentence = "taken"
    try:
        with warnings.catch_warnings():
            # Of Pillow, about damaged metadata.
            warnings.simplefilter("ignore")
            yield
    except ZSRobustError as error:
        sentence = str(error)
    assert sentence
    assert "\n" not in sentence
    assert CANARY not in sys.modules


@st.composite
def broken(draw, content):
    """``content`` with bits, bytes and stretches changed, cut, put in or repeated."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        end = at + draw(st.sampled_from([1, 4, 64, 4096]))
        match draw(st.sampled_from(["bit", "byte", "cut", "insert", "repeat", "number", "end"])):
            case "bit" if changed:
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "byte" if changed:
                changed[at] = draw(st.integers(0, 255))
            case "cut":
                del changed[at:end]
            case "insert":
                changed[at:at] = draw(st.binary(max_size=100))
            case "repeat":
                changed[at:at] = changed[at:end]
            case "number":
                changed[at : at + 4] = struct.pack("<I", draw(st.sampled_from([0, 1, 2**32 - 1])))
            case "end":
                del changed[at:]
    return bytes(changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The current folder, from which the module that hostile input names can be imported."""
    here = tmp_path_factory.mktemp("broken")
    (here / f"{CANARY}.py").write_text("class Thing: ...\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.syspath_prepend(here)
        yield here


@pytest.mark.parametrize("command", PARSE)
@given(data=st.data())
@tries
def test_recipes(folder, command, data):
    name = data.draw(st.sampled_from(recipe_names(command)))
    lines = recipe_path(name, command).read_text().splitlines()
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(lines) - 1))
            key = data.draw(st.just(lines[at].partition(":")[0]) | hostile)
            lines[at] = f"{key}: {data.draw(hostile)}"
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
    else:
        content = data.draw(broken("\n".join(lines).encode()))
    (folder / "recipe.yaml").write_bytes(content)
    with taken_or_refused():
        PARSE[command](["--model", "glyph-clip", "--data", "digits", "--config", "recipe.yaml"])


@pytest.mark.parametrize("command", PARSE)
@given(options=st.lists(st.tuples(st.sampled_from(KEYS), hostile, st.integers(0, 3)), min_size=1))
@tries
def test_arguments(folder, command, options):
    argv = ["--model", "glyph-clip", "--data", "digits"]
    for key, value, way in options:
        argv += [[f"--{key}={value}"], [f"--{key}", value], [f"--{key}"], [value]][way]
    with taken_or_refused():
        PARSE[command](argv)


@pytest.fixture(scope="module")
def checkpoint(folder):
    """A network, its optimizer, and the files of a checkpoint of both."""
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    tensors = gather(network, optimizer, keep=True)
    save_checkpoint(folder / "complete", 3, tensors, {"best": None, "inputs": {}})
    saved = folder / "complete" / "step-00000003"
    return network, optimizer, {path.name: path.read_bytes() for path in saved.iterdir()}


@given(data=st.data())
@tries
def test_checkpoints(folder, checkpoint, data):
    network, optimizer, files = checkpoint
    path = folder / "checkpoints" / "step-00000003"
    path.mkdir(parents=True, exist_ok=True)
    name = data.draw(st.sampled_from(sorted(files)))
    files = {**files, name: data.draw(broken(files[name]))}
    if data.draw(st.booleans()):
        # As someone who means harm would write it: other values, and hashes that fit.
        state = json.loads(checkpoint[2]["state.json"])
        key = data.draw(st.sampled_from(sorted(state)))
        state[key] = data.draw(
            st.sampled_from([None, -1, "x", [], {}, 1e400, [[]] * 9, state[key]])
        )
        hashes = {n: hashlib.sha256(c).hexdigest() for n, c in files.items() if n != "state.json"}
        said = {key: value for key, value in state.items() if key != "sha256"}
        text = json.dumps(said, sort_keys=True).encode()
        hashes["state"] = hashlib.sha256(text).hexdigest()
        files["state.json"] = json.dumps({**said, "sha256": hashes}).encode()
    for other, content in files.items():
        (path / other).write_bytes(content)
    with taken_or_refused():
        load_newest(path.parent, network, optimizer)


@pytest.fixture(scope="module")
def model(folder):
    """A model with an encoder of a few numbers: what is broken is the form of its files."""
    small = replace(glyph_clip("glyph-clip"), encoder=nn.Linear(4, 4))
    save_model(folder / "model", small, "tecoa")
    return small


@given(data=st.data())
@tries
def test_model_folders(folder, model, data):
    card = json.loads((folder / "model" / "model.json").read_text())
    content = (folder / "model" / "model.safetensors").read_bytes()
    if data.draw(st.booleans()):
        content = data.draw(broken(content[:2000])) + content[2000:]
        card["sha256"] = hashlib.sha256(content).hexdigest()
    else:
        others = st.sampled_from([None, -1, "x", [], {}, ["x"], [None], {"kind": "lora"}, 1e400])
        card[data.draw(st.sampled_from(sorted(card)))] = data.draw(others | hostile)
    (folder / "broken-model").mkdir(exist_ok=True)
    (folder / "broken-model" / "model.safetensors").write_bytes(content)
    (folder / "broken-model" / "model.json").write_text(json.dumps(card))
    with taken_or_refused():
        load_model_folder(folder / "broken-model", lambda _: model)


@pytest.mark.parametrize("zipped", [True, False])
@given(data=st.data())
@tries
def test_checkpoints_of_other_projects(folder, model, zipped, data):
    stored = io.BytesIO()
    weights = {"state_dict": model.encoder.state_dict()}
    torch.save(weights, stored, _use_new_zipfile_serialization=zipped)
    content = stored.getvalue()
    head = data.draw(st.sampled_from([256, len(content)]))
    path = folder / "foreign.pth"
    path.write_bytes(data.draw(broken(content[:head])) + content[head:])
    with taken_or_refused():
        load_foreign(f"glyph-clip@{path}", lambda _: model)


MODES = {
    **{"png": "1 L LA I;16 P RGB RGBA", "jpeg": "L RGB CMYK", "gif": "L P RGB", "tga": "RGB"},
    **{"tiff": "1 L I;16 F RGB RGBA CMYK", "bmp": "1 L P RGB", "webp": "RGB RGBA"},
    **{"ppm": "1 L RGB", "eps": "RGB", "ico": "RGBA"},
}


@pytest.mark.parametrize("form", MODES)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_images(folder, form, data):
    mode = data.draw(st.sampled_from(MODES[form].split()))
    width, height = data.draw(st.sampled_from([1, 2, 17, 300])), data.draw(st.integers(1, 40))
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    image = Image.new(mode, (width, height)) if mode == "I;16" else image.convert(mode)
    stored = io.BytesIO()
    image.save(stored, form)
    (folder / "image.png").write_bytes(data.draw(broken(stored.getvalue())))
    reader = FileReader(folder, ["image.png"])
    images = ImageSet("drawn", "test", ("a", "b"), ["image.png"], [0], read_image=reader)
    resize = data.draw(st.sampled_from(sorted(LOADER_RESIZES)))
    with taken_or_refused():
        LOADER_RESIZES[resize](images.read_rgb(0), 32)


@given(lines=st.lists(st.tuples(st.booleans(), hostile), min_size=1, max_size=5), data=st.data())
@tries
def test_class_names(folder, lines, data):
    labels = [f"n{number}" for number in range(len(lines))]
    text = "\n".join(
        f"{label}\t{name}" if keyed else name
        for label, (keyed, name) in zip(labels, lines, strict=True)
    )
    content = text.encode("utf-8", "surrogatepass")
    path = folder / "names.txt"
    path.write_bytes(data.draw(st.just(content) | broken(content)))
    with taken_or_refused():
        names = read_names(path, labels)
        ImageSet("drawn", "test", names, [], [], read_image=FileReader(folder, []))


@given(
    rows=st.lists(st.tuples(hostile, hostile), max_size=4),
    option=st.sampled_from(["", "split", "names", "name", "resolution", "templates", "what"]),
    value=hostile,
    data=st.data(),
)
@tries
def test_lists_of_images(folder, rows, option, value, data):
    lines = ["path,label,split", *(f"{path},{label},train" for path, label in rows)]
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    path = folder / "list.csv"
    path.write_bytes(data.draw(st.just(content) | broken(content)))
    with taken_or_refused():
        csv_set(parse_specification(f"csv:{path}" + f",{option}={value}" * bool(option)), "train")
