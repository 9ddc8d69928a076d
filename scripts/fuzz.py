"""Broken and hostile input, by the thousand: every case must be taken or refused in one sentence.

    python scripts/fuzz.py --cases 10000 --seed 0
    python scripts/fuzz.py --seed 0 --only 4711

Case i of a seed is always the same one, and a case is for one target: recipes and command-line
words, checkpoints and model files, images, or class names and lists. What else than success, a
RequestError or a RunError comes of it is a finding, and so are a case that takes longer than
``PATIENCE`` seconds or has more memory than ``MOST_BYTES``, a sentence of several lines, and a
module that a case had imported. Ends with exit code 1 if there are findings. (Linux and macOS.)
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn

from zsrobust.config.parsing import parse_evaluate, parse_finetune, recipe_names, recipe_path
from zsrobust.data.csv_set import csv_set
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import LOADER_RESIZES
from zsrobust.data.names import clean_name
from zsrobust.data.names.name_file import read_names
from zsrobust.data.readers import FileReader
from zsrobust.data.specification import parse_specification
from zsrobust.models.foreign import load_foreign
from zsrobust.models.glyph_clip import load as glyph_clip
from zsrobust.models.weights import load_model_folder, save_model
from zsrobust.reporting.tables import TextTable
from zsrobust.training.checkpoint import gather, load_newest, save_checkpoint
from zsrobust.utils.errors import ZSRobustError

PATIENCE = 60.0
MOST_BYTES = 6 << 30
CANARY = "fuzz_canary"

HOSTILE = (
    *("", "~", "null", "true", "-1", "0", "1.5", "nan", ".nan", ".inf", "-.inf", "1e999", "1e-400"),
    *("1/255", "1/0", "0/0", "-1/255", "0x10", "1_000", "2020-01-01", "12:30:45", "1" + 50 * "0"),
    *(
        "1" + 5000 * "0",
        "9223372036854775808",
        "[]",
        "{}",
        "[1, [2, [3]]]",
        "[" * 3000,
        "{a: " * 99,
    ),
    *("&a [*a]", "*nothing", "<<: 1", "!!binary aGk=", "!!set {a}", "!!float nan", "!unknown x"),
    f"!!python/object/apply:importlib.import_module [{CANARY}]",
    f"!!python/module:{CANARY}",
    *(f"{CANARY}.Thing", f"{{class_path: {CANARY}.Thing}}", f"{{init_args: {{a: {CANARY}}}}}"),
    *("<script>alert(1)</script>", "{}", "{0.__class__}", "{x!r:>99}", "%s%n", "${PATH}", "`id`"),
    *(
        "\x1b[2J",
        "\0",
        "\r\n",
        "\x85",
        "\u2028",
        "\u202e",
        "\ud800",
        "e\u0301",
        "日本",
        "🦜",
        "x" * 9999,
    ),
    *("../../etc/passwd", "/dev/zero", "~root", "C:\\con", "=1+1", "@x", "a\tb", ",", '"', "'"),
)


def broken(given: bytes, rng: random.Random) -> bytes:
    """``given`` with a few bits, bytes or stretches changed, cut, put in or repeated."""
    content = bytearray(given)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 30))):
        at = rng.randrange(len(content) + 1)
        end = min(len(content), at + rng.choice((1, 4, 64, 4096)))
        match rng.randrange(7):
            case 0 if at < len(content):
                content[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(content):
                content[at] = rng.choice((0, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del content[at:end]
            case 3:
                content[at:at] = rng.randbytes(rng.choice((1, 8, 100)))
            case 4:
                content[at:at] = content[at:end] * rng.choice((1, 3))
            case 5:
                content[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31 - 1, 2**32 - 1)))
            case 6 if rng.random() < 0.2:
                del content[at:]
    return bytes(content)


def hostile(rng: random.Random) -> str:
    """A hostile value, or two put together."""
    value = rng.choice(HOSTILE)
    return value if rng.random() < 0.8 else value + rng.choice(HOSTILE)


class Campaign:
    """The targets; what they need is made once, below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipes = {
            command: [recipe_path(name, command).read_text() for name in recipe_names(command)]
            for command in ("finetune", "evaluate")
        }
        self.network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.1)
        self.network(torch.ones(2, 3)).sum().backward()
        self.optimizer.step()
        tensors = gather(self.network, self.optimizer, keep=True)
        save_checkpoint(folder / "whole", 3, tensors, {"best": None, "inputs": {}})
        # An encoder of a few numbers: what is broken is the files' form.
        self.model = replace(glyph_clip("glyph-clip"), encoder=nn.Linear(4, 4))
        save_model(folder / "model", self.model, "tecoa")
        weights = self.model.encoder.state_dict()
        for zipped in (True, False):
            path = folder / f"foreign-{zipped}.pth"
            torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
        self.tokenize = open_clip.get_tokenizer("ViT-B-32")
        self.targets: tuple[Callable[[random.Random], None], ...] = (
            *(self.recipe, self.words, self.checkpoint, self.checkpoint, self.model_file),
            *(self.image, self.image, self.names, self.names, self.listing),
        )

    def case(self, seed: int, number: int) -> tuple[str, Callable[[], None]]:
        """The target's name and what runs it."""
        rng = random.Random(f"{seed}/{number}")
        target = self.targets[number % len(self.targets)]
        return target.__name__, lambda: target(rng)

    def recipe(self, rng: random.Random) -> None:
        """A recipe with values replaced, keys added, or bytes broken."""
        command = rng.choice(("finetune", "evaluate"))
        lines = rng.choice(self.recipes[command]).splitlines()
        if rng.random() < 0.7:
            for _ in range(rng.choice((1, 1, 3))):
                at = rng.randrange(len(lines))
                key = lines[at].partition(":")[0] if rng.random() < 0.8 else hostile(rng)
                lines[at] = f"{key}: {hostile(rng)}"
            content = "\n".join(lines).encode("utf-8", "surrogatepass")
        else:
            content = broken("\n".join(lines).encode(), rng)
        path = self.folder / "recipe.yaml"
        path.write_bytes(content)
        parse = parse_finetune if command == "finetune" else parse_evaluate
        parse(["--model", "glyph-clip", "--data", "digits", "--config", str(path)])

    def words(self, rng: random.Random) -> None:
        """Options of both commands with hostile values, lone values and options without one."""
        command = rng.choice(("finetune", "evaluate"))
        keys = [
            *(
                "model",
                "data",
                "out",
                "method",
                "attack",
                "attack.eps",
                "attack.steps",
                "eps",
                "pgd",
            ),
            *(
                "optimizer",
                "optimizer.lr",
                "optimizer.name",
                "adapter",
                "adapter.kind",
                "objective",
            ),
            *("objective.alpha", "ema", "steps", "epochs", "batch_size", "templates", "hold_out"),
            *("seed", "workers", "device", "samples", "norm", "pgd.restarts", "config", "nothing"),
        ]
        words = ["--model", "glyph-clip", "--data", "digits"]
        for _ in range(rng.choice((1, 1, 2, 6))):
            key, value = rng.choice(keys), hostile(rng)
            words += rng.choice(([f"--{key}={value}"], [f"--{key}", value], [f"--{key}"], [value]))
        # These print and end the process, as they are meant to.
        words = [w for w in words if w not in ("-h", "--help") and not w.startswith("--print")]
        (parse_finetune if command == "finetune" else parse_evaluate)(words)

    def checkpoint(self, rng: random.Random) -> None:
        """A file of a checkpoint broken; half of the time with hashes that are right again."""
        path = self.folder / "checkpoints" / "step-00000003"
        path.mkdir(parents=True, exist_ok=True)
        for file in (self.folder / "whole" / "step-00000003").iterdir():
            (path / file.name).write_bytes(file.read_bytes())
        name = rng.choice(("state.json", "weights.safetensors", "optimizer.safetensors"))
        if name == "state.json" and rng.random() < 0.5:
            state = json.loads((path / name).read_text())
            state[rng.choice(list(state))] = rng.choice((None, -1, "x", [], {}, 1e400, [[]] * 9))
            (path / name).write_text(json.dumps(state))
        else:
            (path / name).write_bytes(broken((path / name).read_bytes(), rng))
        if rng.random() < 0.5:
            self._sign(path)
        load_newest(path.parent, self.network, self.optimizer)

    def _sign(self, path: Path) -> None:
        """Hashes as someone who means harm would write them."""
        try:
            state = json.loads((path / "state.json").read_text())
            hashes = {file.name: _sha256(file) for file in path.glob("*.safetensors")}
            said = {key: value for key, value in state.items() if key != "sha256"}
            text = json.dumps(said, sort_keys=True)
            hashes["state"] = hashlib.sha256(text.encode()).hexdigest()
            (path / "state.json").write_text(json.dumps({**said, "sha256": hashes}))
        except (ValueError, AttributeError):
            return

    def model_file(self, rng: random.Random) -> None:
        """A model folder or another project's checkpoint, broken in its head, where the form is."""
        if rng.random() < 0.5:
            source = self.folder / f"foreign-{rng.random() < 0.5}.pth"
            path = self.folder / "foreign.pth"
            content = source.read_bytes()
            head = rng.choice((256, 4096, len(content)))
            path.write_bytes(broken(content[:head], rng) + content[head:])
            load_foreign(f"glyph-clip@{path}", lambda _: self.model)
            return
        folder = self.folder / "broken-model"
        folder.mkdir(exist_ok=True)
        card = json.loads((self.folder / "model" / "model.json").read_text())
        content = (self.folder / "model" / "model.safetensors").read_bytes()
        if rng.random() < 0.5:
            content = broken(content[:2000], rng) + content[2000:]
            card["sha256"] = hashlib.sha256(content).hexdigest()
        else:
            hostile_values = (
                None,
                -1,
                "x",
                [],
                {},
                ["x"],
                [None],
                {"kind": "lora"},
                1e400,
                hostile(rng),
            )
            card[rng.choice(list(card))] = rng.choice(hostile_values)
        (folder / "model.safetensors").write_bytes(content)
        (folder / "model.json").write_text(json.dumps(card))
        load_model_folder(folder, lambda _: self.model)

    def image(self, rng: random.Random) -> None:
        """An image of any format and mode, broken; read and resized as a loader does."""
        modes = {"png": "1 L LA I;16 P RGB RGBA", "jpeg": "L RGB CMYK", "gif": "L P RGB"}
        modes |= {"tiff": "1 L I;16 F RGB RGBA CMYK", "bmp": "1 L P RGB", "webp": "RGB RGBA"}
        modes |= {"ppm": "1 L RGB", "eps": "RGB", "ico": "RGBA", "tga": "RGB"}
        form = rng.choice(list(modes))
        mode = rng.choice(modes[form].split())
        size = (rng.choice((1, 2, 17, 300)), rng.choice((1, 9, 40)))
        stored = io.BytesIO()
        drawn = np.frombuffer(rng.randbytes(3 * size[0] * size[1]), np.uint8)
        image = Image.fromarray(drawn.reshape(size[1], size[0], 3))
        image = Image.new(mode, size) if mode == "I;16" else image.convert(mode)
        image.save(stored, form)
        content = stored.getvalue()
        if rng.random() < 0.9:
            head = rng.choice((64, len(content)))
            content = broken(content[:head], rng) + content[head:]
        (self.folder / "image.png").write_bytes(content)
        images = ImageSet(
            *("fuzzed", "test", ("a", "b"), ["image.png"], [0]),
            read_image=FileReader(self.folder, ["image.png"]),
        )
        LOADER_RESIZES[rng.choice(list(LOADER_RESIZES))](images.read_rgb(0), 32)

    def names(self, rng: random.Random) -> None:
        """Class names, from a file or from folders, to prompts, tokens and tables."""
        folders = [f"n{number}" for number in range(rng.choice((1, 2, 5)))]
        lines = [rng.choice(("", f"{name}\t", "n0\t")) + hostile(rng) for name in folders]
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        path = self.folder / "names.txt"
        path.write_bytes(content if rng.random() < 0.7 else broken(content, rng))
        if rng.random() < 0.7:
            names = read_names(path, folders)
        else:
            names = tuple(clean_name(hostile(rng)) for _ in folders)
        ImageSet("fuzzed", "test", names, [], [], read_image=FileReader(self.folder, []))
        self.tokenize([f"a photo of a {name}" for name in names])
        table = TextTable(["class"], [[[name]] for name in names])
        for text in (table.as_csv(), table.as_latex("x"), table.as_markdown()):
            text.encode()

    def listing(self, rng: random.Random) -> None:
        """A CSV file of images and labels, and the specification that names it."""
        rows = ["path,label,split"]
        rows += [f"{hostile(rng)},{hostile(rng)},train" for _ in range(rng.choice((0, 1, 4)))]
        rows += ["image.png,cat,train"] if rng.random() < 0.5 else []
        content = "\n".join(rows).encode("utf-8", "surrogatepass")
        path = self.folder / "list.csv"
        path.write_bytes(content if rng.random() < 0.6 else broken(content, rng))
        key = rng.choice(("", "", "split", "names", "name", "resolution", "templates", "what"))
        option = f",{key}={hostile(rng)}" if key else ""
        csv_set(parse_specification(f"csv:{path}{option}"), "train")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def finding(run: Callable[[], None]) -> tuple[str, str]:
    """How a case ended, ``taken``, ``refused`` or ``FOUND``, and the finding in words."""
    began = time.monotonic()
    try:
        run()
        outcome, words = "taken", ""
    except ZSRobustError as error:
        outcome, words = "refused", str(error)
        if "\n" in words or not words:
            return "FOUND", f"no sentence in one line: {words[:300]!r}"
    except (Exception, SystemExit) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            "FOUND",
            f"{type(error).__name__}: {str(error)[:200]} ({where.filename}:{where.lineno})",
        )
    if time.monotonic() - began > PATIENCE:
        return "FOUND", f"{time.monotonic() - began:.0f} s"
    if CANARY in sys.modules:
        del sys.modules[CANARY]
        return "FOUND", "a module was imported"
    return outcome, words


def campaign(
    cases: range, seed: int, folder: Path, tell: Callable[[str], None]
) -> Counter[tuple[str, str]]:
    """How many cases of each target ended how; ``tell`` is told each finding."""
    (folder / f"{CANARY}.py").write_text("class Thing: ...\n")
    sys.path.insert(0, str(folder))
    before = Path.cwd()
    os.chdir(folder)
    ended: Counter[tuple[str, str]] = Counter()
    try:
        made = Campaign(folder)
        for number in cases:
            name, run = made.case(seed, number)
            outcome, words = finding(run)
            ended[name, outcome] += 1
            if outcome == "FOUND":
                tell(f"case {number} ({name}): {words}")
    finally:
        os.chdir(before)
        sys.path.remove(str(folder))
    return ended


def main() -> int:
    """Run the campaign that the words ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one case, to look into a finding")
    given = parser.parse_args()
    # A case that wants more fails with a MemoryError, and is found.
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    cases = range(given.cases) if given.only is None else range(given.only, given.only + 1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ended = campaign(cases, given.seed, Path(folder).resolve(), print)
    for name in sorted({target for target, _ in ended}):
        counts = "  ".join(f"{how} {ended[name, how]:5d}" for how in ("taken", "refused", "FOUND"))
        print(f"{name:12s} {counts}")
    found = sum(count for (_, how), count in ended.items() if how == "FOUND")
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
