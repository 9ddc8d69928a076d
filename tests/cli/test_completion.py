"""What bash completes, asked of bash itself."""

import shutil
import subprocess

import pytest

from zsrobust.cli.commands import command_names
from zsrobust.cli.main import main
from zsrobust.config.recipes import recipe_names
from zsrobust.export.formats import FORMATS
from zsrobust.objectives import OBJECTIVES

# What bash sets when Tab is pressed: all argv, and the one at the cursor, which is the last.
PRESS_TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
COMPREPLY=()
function=$(complete -p zsrobust | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" zsrobust "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    with pytest.MonkeyPatch.context() as patch:
        for shell in ("bash", "zsh", "fish"):
            with (folder / shell).open("w") as file:
                patch.setattr("sys.stdout", file)
                assert main(["completion", shell]) == 0
    return folder


@pytest.fixture
def tab(scripts, tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")

    def press(*argv):
        shell = ["bash", "--norc", "-c", PRESS_TAB, "-", str(scripts / "bash"), "zsrobust", *argv]
        found = subprocess.run(shell, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert found.stderr == ""
        return set(found.stdout.split())

    return press


def test_commands(tab):
    assert tab("") >= set(command_names())
    assert tab("ev") == {"evaluate"}


@pytest.mark.parametrize(
    ("argv", "some"),
    [
        (["export", "--"], {"--to", "--out", "--results", "--json", "--overwrite", "--debug"}),
        (["export", "--to", ""], {"open_clip", "transformers", "onnx", "tecoa"}),
        (["evaluate", "--attack", "pgd-10-"], {"pgd-10-margin", "pgd-10-dlr", "pgd-10-targeted"}),
        (
            ["evaluate", "--attack", "pgd-10", "auto"],
            {"autoattack", "autoattack-2", "autoattack-early", "autoattack-rand"},
        ),
        (["evaluate", "--model", "glyph-clip-"], {"glyph-clip-robust"}),
        (["evaluate", "--model", "ViT-B-32/open"], {"ViT-B-32/openai"}),
        (["evaluate", "--norm", ""], {"linf", "l2"}),
        (["evaluate", "--comp"], {"--compare"}),
        (["finetune", "--method", "t"], {"tecoa", "tga_zsr", "trades"}),
        (["finetune", "--objective.al"], {"--objective.alpha"}),
        (["finetune", "--data", "tiny"], {"tiny-imagenet"}),
        (["data", ""], {"list", "prepare", "verify", "shard"}),
        (["data", "verify", "euro"], {"eurosat"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["demo", "--q"], {"--quick"}),
        (["serve", "glyph-clip-r"], {"glyph-clip-robust"}),
        (["serve", "--p"], {"--port"}),
        (["sweep", "pmg_aft_au"], {"pmg_aft_authors_code"}),
        (["sweep", "--se"], {"--seeds", "--seed"}),
        (["reproduce", "ph"], {"photos"}),
    ],
    # Sorted: processes that share the tests must number them alike.
    ids=lambda argv: " ".join(sorted(argv)),
)
def test_options_and_known_words(tab, argv, some):
    assert tab(*argv) == some or (argv[-1] == "--" and tab(*argv) >= some)


def test_recipes_methods_and_formats_are_all_there(tab):
    assert tab("finetune", "--config", "") == set(recipe_names("finetune"))
    assert tab("evaluate", "--config", "") == set(recipe_names("evaluate"))
    assert tab("finetune", "--method", "") == set(OBJECTIVES)
    assert tab("export", "--to", "") == set(FORMATS)


def test_folders_are_completed_where_a_folder_goes(tab, tmp_path):
    (tmp_path / "runs_of_mine").mkdir()
    for argv in (["export"], ["seeds"], ["report"], ["evaluate", "--out"], ["push"]):
        assert tab(*argv, "runs_") == {"runs_of_mine"}, argv


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(scripts, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    subprocess.run([shell, "-n", str(scripts / shell)], check=True)


def test_other_shells_are_refused(capsys):
    assert main(["completion", "cmd"]) == 2
    assert "there is no shell 'cmd': choose bash" in capsys.readouterr().err
