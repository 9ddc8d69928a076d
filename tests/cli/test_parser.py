import pytest

from zsrobust.cli.parser import Parser
from zsrobust.utils.errors import RequestError


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["run"], (False, "run")),
        (["run", "--overwrite"], (True, "run")),
        (["--overwrite", "run"], (True, "run")),
        (["run", "--overwrite", "true"], (True, "run")),
        (["--overwrite=true", "run"], (True, "run")),
        (["--overwrite", "False", "run"], (False, "run")),
        (["run", "--overwrite=no"], (False, "run")),
    ],
)
def test_a_switch_is_spelled_as_options_of_recipes_are(argv, found):
    parser = Parser(prog="zsrobust")
    parser.add_argument("run")
    parser.add_switch("--overwrite", help="replace it")
    given = parser.parse_args(argv)
    assert (given.overwrite, given.run) == found


def test_other_values_are_refused():
    parser = Parser(prog="zsrobust")
    parser.add_switch("--overwrite", help="replace it")
    with pytest.raises(RequestError, match="--overwrite: is maybe: must be true or false"):
        parser.parse_args(["--overwrite=maybe"])


@pytest.mark.parametrize("argv", [["--model", "a"], ["--model=a", "b"], ["--models", "a", "b"]])
def test_an_option_for_what_is_written_without_one_says_so(argv):
    parser = Parser(prog="zsrobust serve")
    parser.add_argument("model", nargs="*", metavar="MODEL")
    parser.add_argument("--mode")
    with pytest.raises(RequestError, match="write MODEL without it, as in zsrobust serve MODEL"):
        parser.parse_args(argv)
    # Of other names the nearest option is meant.
    with pytest.raises(RequestError, match="did you mean --mode"):
        parser.parse_args(["--moda", "a"])


def subcommands() -> Parser:
    parser = Parser(prog="zsrobust data")
    below = parser.add_subparsers(required=True, dest="subcommand")
    prepare = below.add_parser("prepare")
    prepare.add_argument("--root", required=True)
    below.add_parser("list")
    return parser


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        # Before what is missing, and with the options of the subcommand that was named.
        (["prepare", "--rot", "x"], "no option --rot; did you mean --root"),
        (["prepare", "-root", "x"], "no option -root; did you mean --root"),
        (["list", "--rot", "x"], "no option --rot; see zsrobust data list --help"),
        (["list", "--jsn"], "did you mean --json"),
    ],
)
def test_a_wrong_option_is_refused_with_the_one_that_is_meant(argv, sentence):
    with pytest.raises(RequestError, match=sentence):
        subcommands().parse_args(argv)
