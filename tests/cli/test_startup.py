"""The command line answers without torch and what else takes long to import."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.startup import answered_at_once

import zsrobust
from zsrobust.cli.commands import command_names
from zsrobust.config.recipes import recipe_names

METHODS = recipe_names("finetune")
PACKAGE = Path(zsrobust.__file__).parent
REPOSITORY = Path(__file__).parents[2]

# In one process: who imports torch is noted and refused, so that it is found in every request.
ASK = """
import contextlib, io, json, sys, traceback
from pathlib import Path

SLOW = {"accelerate", "matplotlib", "open_clip", "pandas", "scipy", "sklearn", "transformers"}
importers = []


class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            ours = [f for f in traceback.extract_stack() if "zsrobust" in Path(f.filename).parts]
            importers.append(f"{ours[-1].filename}:{ours[-1].lineno}" if ours else "?")
            raise ImportError("no torch here")


sys.meta_path.insert(0, NoTorch())
found = []
for argv in json.loads(sys.argv[1]):
    from zsrobust.cli.main import main

    importers.clear()
    before, told = set(sys.modules), io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            code = main(argv)
        except SystemExit as stopped:
            code = stopped.code
    slow = sorted(SLOW & (set(sys.modules) - before))
    found.append([argv, code, [*importers, *slow], told.getvalue()])
sys.stdout.write(json.dumps(found))
"""


def asked(requests, here, source=PACKAGE.parent):
    """Words, exit code, what was imported that takes long, and what was printed, each."""
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{REPOSITORY}"}
    shown = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(requests)],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(shown.stdout)


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.slow)])
def answers(request, tmp_path_factory):
    """The kind of each request, and its answer; ``some`` is every command, and some of the rest."""
    here = tmp_path_factory.mktemp("here")
    groups = answered_at_once(here)
    if request.param == "some":
        whole = ("help", "lists", "wrong option")
        groups = {what: g if what in whole else g[::8] for what, g in groups.items()}
    found = asked([argv for group in groups.values() for argv in group], here)
    kinds = [what for what, group in groups.items() for _ in group]
    return list(zip(kinds, found, strict=True))


def test_nothing_slow_is_imported(answers):
    # A module imports torch from zsrobust.utils.lazy, or where it is used.
    assert {" ".join(argv): slow for _, (argv, _, slow, _) in answers if slow} == {}


def test_no_recipe_needs_torch_to_be_read(tmp_path):
    words = ["--model", "glyph-clip", "--data", "glyph:training", "--print_config"]
    found = asked([["finetune", "--config", name, *words] for name in METHODS], tmp_path)
    assert {argv[2]: slow for argv, _, slow, _ in found if slow} == {}
    assert all(code == 0 for _, code, _, _ in found)


def test_what_is_wrong_is_refused_in_a_sentence(answers):
    for what, (argv, code, _, told) in answers:
        wrong = what.startswith("wrong")
        assert code == (2 if wrong else 0), (argv, told)
        assert (told.count("\n") == 1) == (wrong or argv == ["--version"]), (argv, told)


@pytest.mark.parametrize("command", command_names())
def test_help_reads_no_data(command):
    # numpy alone is a quarter of its time.
    code = (
        "import sys; from zsrobust.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "finally: sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, command], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "module", ["objectives/tecoa.py", "attacks/cw.py", "models/adapters/lora.py"]
)
def test_torch_at_the_top_of_a_module_is_found(module, tmp_path):
    copy = tmp_path / "src" / "zsrobust"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"))
    changed = copy / module
    before = "from __future__ import annotations\n"
    changed.write_text(changed.read_text("utf-8").replace(before, f"{before}\nimport torch\n"))
    [(_, _, importers, _)] = asked([["finetune", "--help"]], tmp_path, tmp_path / "src")
    assert importers[0].startswith(str(changed))
