"""The README and the pages say what is so: their commands parse, their code runs."""

import re
import shlex
from pathlib import Path

import pytest

from zsrobust.attacks.registry import EXAMPLES
from zsrobust.cli.commands import command_module, demo
from zsrobust.cli.commands.reproduce import parse_reproduce
from zsrobust.cli.commands.sweep import parse_sweep
from zsrobust.cli.main import main
from zsrobust.cli.parser import split_dry_run
from zsrobust.config.parsing import parse_evaluate, parse_finetune
from zsrobust.data.registry import OWN, kinds
from zsrobust.data.suites import SUITES
from zsrobust.evaluation.results import Results
from zsrobust.export.formats import FORMATS
from zsrobust.models.adapters.options import ADAPTERS
from zsrobust.models.names import FORMS
from zsrobust.models.protocols import PROTOCOLS
from zsrobust.models.robust import ROBUST
from zsrobust.objectives import OBJECTIVES
from zsrobust.objectives.pmg_aft import PRESETS
from zsrobust.sweep.plan_file import plan_path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
PARSED = {
    "demo": demo.parse,
    "evaluate": lambda argv: parse_evaluate(split_dry_run(argv)[1]),
    "finetune": lambda argv: parse_finetune(split_dry_run(argv)[1]),
    "reproduce": parse_reproduce,
    "sweep": lambda argv: parse_sweep(split_dry_run(argv)[1]),
}


def blocks(language, page=README):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def commands():
    text = "\n".join(blocks("bash", "\n".join([README, *PAGES])))
    text = text.replace("\\\n", " ").replace("&&", "\n")
    argv = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line[1:] for line in argv if line and line[0].endswith("zsrobust")]


def write_own_files(folder):
    """What pages show as a file: a block of Python that begins with its name."""
    for code in blocks("python", "\n".join(PAGES)):
        if found := re.match(r"# (\w+\.py)\n", code):
            (folder / found[1]).write_text(code, encoding="utf-8")


def test_there_are_commands_to_check():
    assert len(commands()) >= 40


@pytest.mark.parametrize("argv", commands(), ids=" ".join)
def test_every_command_parses(argv, tmp_path, monkeypatch):
    # What reproduce photos looks for before anything else.
    for part in ("tiny-imagenet-200/train", "tiny-imagenet-200/val"):
        (tmp_path / "DIR" / part).mkdir(parents=True)
    for part in re.findall(r"\{root\}/([^,\s]+)", plan_path("photos").read_text("utf-8")):
        file = tmp_path / "DIR" / part
        folder = file.parent if file.suffix == ".txt" else file
        folder.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".txt":
            file.write_text("a photo of a {}\n")
    monkeypatch.chdir(tmp_path)
    write_own_files(tmp_path)
    command, *options = argv
    if command not in PARSED:
        [parser] = command_module(command).parsers()
        parser.parse_args(options)
    else:
        parsed = PARSED[command](options)
        if command in ("evaluate", "finetune"):
            for spec in [parsed.data] if isinstance(parsed.data, str) else parsed.data:
                assert spec.split(":")[0] in {*kinds(), *OWN, *SUITES}


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = blocks("python")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [(line.split()[0], line.split()[-2]) for line in printed[1:]] == [
        ("glyph-clip", "fgsm"),
        ("glyph-clip", "pgd-10"),
        ("blurred", "fgsm"),
        ("blurred", "pgd-10"),
    ]
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_attacks_and_losses_of_the_page_on_python_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_own_files(tmp_path)
    finetune, evaluate = (
        next(argv for argv in commands() if f"{name}.py" in " ".join(argv))
        for name in ("my_losses", "my_attacks")
    )
    assert main([*finetune, "--steps", "1", "--batch_size", "16"]) == 0
    assert main([*evaluate, "--samples", "20", "--out", "results"]) == 0
    rows = Results.read(tmp_path / "results" / "results.json")
    assert [row.attack for row in rows] == ["fgm-10", "fgm-50"]
    assert all(row.robust_acc < row.clean_acc for row in rows)


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("attacks", EXAMPLES),
        ("data", [*kinds(), *OWN, *SUITES]),
        ("export", FORMATS),
        ("models", [*ROBUST, *FORMS, *PROTOCOLS]),
        ("training", [*OBJECTIVES, *PRESETS, *ADAPTERS]),
    ],
)
def test_every_name_is_on_its_page(page, names):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}" not in text] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_it_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/])(?:[a-z_]+/)+[a-z_]+\.(?:py|yaml|md)", text)
    assert named
    for name in named:
        assert (ROOT / name).is_file() or (ROOT / "src" / "zsrobust" / name).is_file(), name
