"""CONTRIBUTING's table: each addition, made in a copy, works and touches what the table names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^\| (an? [a-z ]+?)(?: \(.*?\))? \| (.+?) \| .+? \|$", re.MULTILINE)


def touched_files():
    """The paths that each row of the table names, without those behind a semicolon."""
    rows = ROW.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    return {
        what: set(re.findall(r"`([\w.]+/[\w./]*\.\w+)`", files.partition(";")[0]))
        for what, files in rows
    }


class Copy:
    """A copy of the package that is changed, and the paths that were."""

    def __init__(self, folder):
        self.folder, self.changed = folder, set()
        shutil.copytree(ROOT / "src" / "zsrobust", folder / "src" / "zsrobust")
        shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.png"))

    def write(self, path, text):
        target = self.folder / "src" / "zsrobust" / path
        assert not target.exists()
        target.write_text(dedent(text), "utf-8")
        self.changed.add(path)

    def insert(self, path, before, text):
        """Add ``text`` before the first line that begins with ``before``."""
        below = "." if path.startswith("docs/") else "src/zsrobust"
        target = self.folder / below / path
        lines = target.read_text("utf-8").splitlines(keepends=True)
        at = next(index for index, line in enumerate(lines) if line.startswith(before))
        target.write_text("".join([*lines[:at], text, *lines[at:]]), "utf-8")
        self.changed.add(path)

    def replace(self, path, old, new):
        """Replace ``old``, which is there once."""
        target = self.folder / "src" / "zsrobust" / path
        text = target.read_text("utf-8")
        assert text.count(old) == 1
        target.write_text(text.replace(old, new), "utf-8")
        self.changed.add(path)

    def run(self, program):
        """Run Python on the copy; returns what it printed."""
        here = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        command = [sys.executable, "-c", dedent(program)]
        shown = subprocess.run(
            command, cwd=self.folder, env=here, capture_output=True, text=True, check=False
        )
        assert shown.returncode == 0, shown.stderr
        return shown.stdout


def a_loss(copy):
    copy.write(
        "objectives/toy.py",
        '''
        """A toy: the cosine distance of the student's two embeddings of an image."""

        from dataclasses import dataclass

        from zsrobust.objectives.base import Needs, Objective, StepContext, register_objective
        from zsrobust.utils.lazy import F, Tensor


        @register_objective("toy", "Toy")
        @dataclass(frozen=True)
        class Toy(Objective):
            """``1 - cos(S(x), S(x'))``; x' from PGD on the cross-entropy."""

            @property
            def needs(self) -> Needs:
                return Needs(student=frozenset({"adversarial", "clean"}))

            def loss(self, step: StepContext) -> dict[str, Tensor]:
                seen = step.student
                cosine = F.cosine_similarity(seen["clean"], seen["adversarial"])
                return {"total": step.mean(1 - cosine)}
        ''',
    )
    copy.write(
        "recipes/finetune/toy.yaml",
        """\
        # A toy.
        method: toy
        model: glyph-clip
        data: digits
        batch_size: 16
        """,
    )
    copy.insert("docs/fidelity.md", "## Sums of terms", "## Toy (`toy`)\n\n")
    assert "A toy" in copy.run("from zsrobust.cli.main import main; main(['recipes'])")
    shown = copy.run(
        """
        import zsrobust
        run = zsrobust.finetune(zsrobust.recipe("toy", steps=1, out="run"))
        print(run.steps, zsrobust.load("run").method)
        """
    )
    assert shown.splitlines()[-1] == "1 toy"


def an_attack(copy):
    copy.write(
        "attacks/toy.py",
        '''
        """The attack ``toy-K``: every pixel K/255 brighter."""

        from dataclasses import dataclass

        from zsrobust.attacks.base import Attack, register_attack
        from zsrobust.attacks.threat_model import ThreatModel


        @register_attack(r"toy-(?P<levels>\\d+)", "toy-1")
        @dataclass(frozen=True)
        class Toy(Attack):
            """Brighter, within the threat model."""

            threat: ThreatModel
            levels: int = 1
            seed: int = 0

            @property
            def name(self) -> str:
                return f"toy-{self.levels}"

            @property
            def passes(self) -> int:
                return 0

            def perturb(self, classifier, images, labels, sample_ids, epoch):
                return self.threat.project(images + self.levels / 255, images)
        ''',
    )
    copy.insert("docs/attacks.md", "| `noise", "| `toy-K` | brighter |\n")
    shown = copy.run(
        """
        import zsrobust
        request = zsrobust.EvaluateConfig(
            model=["glyph-clip"], data=["digits"], attack=["toy-3"], eps=["1/255"], samples=10,
            out="run",
        )
        [row] = zsrobust.evaluate(request).rows
        print(row.attack, row.n)
        """
    )
    assert shown.splitlines()[-1] == "toy-3 10"


def a_data_set(copy):
    copy.insert(
        "data/published/sets.yaml",
        "further:",
        dedent(
            """
            toys:
              toy:
                title: Toy
                classes: 2
                counts: {test: 4}
                source: https://example.org
                licence: none
                places: [toy]
                needs: [n01, n02]
                reader: class_folders
            """
        ),
    )
    copy.write("data/names/toy.txt", "n01\ttabby cat\nn02\tred setter\n")
    shown = copy.run(
        """
        from pathlib import Path
        from PIL import Image
        from zsrobust.cli.main import main
        from zsrobust.data.registry import open_set

        for place in ("n01/a", "n01/b", "n02/a", "n02/b"):
            file = Path("data/toy", f"{place}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40)).save(file)
        print(main(["data", "verify", "toy", "--root", "data"]))
        opened = open_set("toy:data/toy", "test")
        print(opened.class_names, opened.labels)
        """
    )
    assert shown.splitlines()[-2:] == ["0", "('tabby cat', 'red setter') (0, 0, 1, 1)"]


def an_adapter(copy):
    copy.write(
        "models/adapters/toy.py",
        '''
        """The adapter ``toy``: the first parameters of the encoder."""

        from dataclasses import dataclass

        from zsrobust.models.adapters.base import AdapterKind, register_adapter, train_only


        @register_adapter("toy")
        @dataclass(frozen=True)
        class Toy(AdapterKind):
            """The first parameters.

            Attributes:
                first: how many.
            """

            first: int = 2

            @property
            def label(self) -> str:
                return f"toy(first={self.first})"

            def apply(self, encoder, name, image_size, seed):
                names = [name for name, _ in encoder.named_parameters()]
                train_only(encoder, names[: self.first])
                return encoder
        ''',
    )
    copy.insert("docs/training.md", "| `prompt_padding`", "| `toy` | the first | `first` 2 |\n")
    shown = copy.run(
        """
        import json
        from pathlib import Path
        from zsrobust.cli.main import main

        code = main(["finetune", "--config", "tecoa", "--model", "glyph-clip", "--data", "digits",
                     "--steps", "1", "--batch_size", "16", "--adapter.kind", "toy",
                     "--adapter.first", "3", "--out", "run"])
        card = json.loads(Path("run/model/model.json").read_text())
        print(code, card["method"])
        """
    )
    assert shown.splitlines()[-1] == "0 tecoa + toy(first=3)"
    helped = copy.run("from zsrobust.cli.main import main; main(['finetune', '--help'])")
    assert "adapter.first" in helped


def an_export(copy):
    copy.write(
        "export/formats/toy.py",
        '''
        """A toy: the encoder's tensors in a file of torch."""

        from zsrobust.export.checks import to_pixels
        from zsrobust.export.format import Format, Loaded, export_format
        from zsrobust.utils.lazy import torch


        @export_format("toy")
        class Toy(Format):
            """``toy.pt``."""

            what = "a toy"
            how = "With torch."

            def check(self, model, request):
                pass

            def write(self, model, folder, request):
                torch.save(model.encoder.state_dict(), folder / "toy.pt")
                return []

            def load(self, folder, model):
                model.encoder.load_state_dict(torch.load(folder / "toy.pt", weights_only=True))

                def images(shown):
                    return model.encoder(model.preprocessing(to_pixels(shown)))

                return Loaded(images, None, model.preprocessing.image_size)
        ''',
    )
    copy.insert("docs/export.md", "| `tecoa`", "| `toy` | `toy.pt` | torch |\n")
    command = ["export", "glyph-clip-robust", "--to", "toy", "--out", "out"]
    copy.run(f"from zsrobust.cli.main import main; raise SystemExit(main({command}))")
    assert (copy.folder / "out" / "toy.pt").is_file()


def a_command(copy):
    copy.write(
        "cli/commands/toy.py",
        '''
        """Say a word."""

        from zsrobust.cli.parser import Parser


        def parsers():
            parser = Parser(prog="zsrobust toy", description=__doc__)
            parser.add_argument("word")
            return [parser]


        def run(argv, output):
            [parser] = parsers()
            output.show(parser.parse_args(argv).word)
        ''',
    )
    ask = "from zsrobust.cli.main import main; raise SystemExit(main({}))"
    assert "toy          Say a word" in copy.run(ask.format(["--help"]))
    assert copy.run(ask.format(["toy", "robust"])) == "robust\n"
    assert "toy" in copy.run(ask.format(["completion", "bash"]))


def a_column(copy):
    copy.insert(
        "evaluation/results.py", "    top_labelled: float", "    hardest: float = math.nan\n"
    )
    copy.insert(
        "evaluation/cell.py", "            n=n,", "            hardest=max(clean.losses),\n"
    )
    copy.replace(
        "reporting/tables.py", '"model", "n", "clean"]', '"model", "n", "hardest", "clean"]'
    )
    copy.replace(
        "reporting/tables.py",
        "names[m], str(rows[0].n)]",
        'names[m], str(rows[0].n), f"{rows[0].hardest:.3f}"]',
    )
    copy.replace("reporting/tables.py", 'names[m], ""]', 'names[m], "", ""]')
    shown = copy.run(
        """
        from pathlib import Path
        from zsrobust.cli.main import main
        from zsrobust.evaluation.results import Results

        main(["evaluate", "--model", "glyph-clip", "--data", "digits", "--samples", "20",
              "--attack", "pgd-1", "--eps", "1/255", "--out", "run"])
        main(["report", "run", "--out", "page"])
        [row] = Results.read(Path("run/results.json")).rows
        print(f"{row.hardest:.3f}")
        """
    )
    value = shown.splitlines()[-1]
    assert "hardest" in shown
    assert shown.count(value) >= 2
    [csv] = (copy.folder / "page" / "files").glob("accuracy*.csv")
    assert value in csv.read_text("utf-8")


TOYS = {
    "a loss": a_loss,
    "an attack": an_attack,
    "a data set": a_data_set,
    "an adapter": an_adapter,
    "an export": an_export,
    "a command": a_command,
    "a column": a_column,
}


def test_every_addition_with_a_file_of_its_own_is_tried():
    assert TOYS.keys() <= touched_files().keys()


@pytest.mark.slow
@pytest.mark.parametrize("what", TOYS)
def test_an_addition_works_and_touches_the_files_of_its_row(what, tmp_path):
    copy = Copy(tmp_path)
    TOYS[what](copy)
    named = {path.replace("NAME", "toy") for path in touched_files()[what]}
    assert copy.changed == named
