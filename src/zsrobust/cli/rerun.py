"""``zsrobust rerun``: from words to what is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zsrobust.config.word_parser import WordParser
from zsrobust.utils.errors import RunError
from zsrobust.utils.files import local_path

if TYPE_CHECKING:
    from zsrobust.sweep.rerun import Rerun

SHOWN = 10


def rerun_parser() -> WordParser:
    """The options of ``zsrobust rerun``."""
    parser = WordParser(
        prog="zsrobust rerun",
        description="Repeat a finished run of finetune or evaluate from its own config.yaml, and "
        "say whether every value came out the same bit for bit: if not, which differ and by how "
        "much, and what of the environment is not the same. Relative paths start from here, as "
        "they did for the run.",
    )
    parser.add_argument(
        "run", type=local_path, metavar="RUN", help="a folder of finetune or evaluate"
    )
    parser.add_argument(
        "--out", type=local_path, metavar="DIR", help="where to repeat it (RUN-again, beside it)"
    )
    return parser


def run_rerun(words: Sequence[str]) -> Rerun:
    """Repeat the run that ``words`` name.

    Raises:
        RequestError: if the words are wrong, or as ``rerun``.
        RunError: if the repetition fails.
    """
    given = rerun_parser().parse_args(list(words))
    from zsrobust.sweep.rerun import rerun

    return rerun(given.run, given.out)


def show_rerun(found: Rerun, show: Callable[[str], None]) -> None:
    """Print what was found."""
    if found.same:
        show(
            f"{found.again} is {found.run} bit for bit: {found.values} values in "
            f"{found.columns} columns"
        )
    for one in found.differences[:SHOWN]:
        show(one.sentence())
    if len(found.differences) > SHOWN:
        show(f"and {len(found.differences) - SHOWN} columns more")
    for name, (then, now) in found.environment.items():
        show(f"{name}: {then or 'not recorded'} then, {now or 'not recorded'} now")
    if not found.environment:
        show("the environment is the same in all that is recorded of it")


def require_same(found: Rerun) -> None:
    """End with exit code 1 where a value differs.

    Raises:
        RunError: then.
    """
    if not found.same:
        raise RunError(
            f"{found.again} is not {found.run} bit for bit: {len(found.differences)} of "
            f"{found.columns} columns differ"
        )
