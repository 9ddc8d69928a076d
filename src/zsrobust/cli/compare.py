"""``zsrobust compare``, ``seeds`` and ``recipes``: their words."""

from __future__ import annotations

from zsrobust.config.word_parser import WordParser
from zsrobust.utils.files import local_path


def compare_parser() -> WordParser:
    """The options of ``zsrobust compare``."""
    return _runs_parser(
        "compare",
        "Which differences between evaluated models are real, tested on the same samples.",
        "folders of evaluate: two, or one to compare its models with each other",
    )


def seeds_parser() -> WordParser:
    """The options of ``zsrobust seeds``."""
    return _runs_parser(
        "seeds",
        "Mean and spread over evaluations of several seeds.",
        "folders of evaluate, one a seed",
    )


def recipes_parser() -> WordParser:
    """``zsrobust recipes`` takes no word of its own."""
    return WordParser(prog="zsrobust recipes", description="List the packaged recipes.")


def _runs_parser(command: str, description: str, runs: str) -> WordParser:
    parser = WordParser(prog=f"zsrobust {command}", description=description)
    parser.add_argument("runs", nargs="*", type=local_path, metavar="RUN", help=runs)
    return parser
