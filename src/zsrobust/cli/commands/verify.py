"""Verify a bundle: compute every figure again from its outcomes, and add it to a leaderboard.

It says what agrees, what contradicts and what a bundle cannot show, and fails if anything
contradicts. With a model and data it also asks the model about random samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """A bundle, where it goes, and what it is compared with."""
    parser = Parser(prog="zsrobust verify", description=__doc__)
    parser.add_argument(
        "bundle", type=local_path, metavar="FILE", help="file that zsrobust bundle wrote"
    )
    parser.add_argument(
        "--add", type=local_path, metavar="DIR", help="leaderboard folder to add it to"
    )
    parser.add_argument(
        "--recheck",
        type=int,
        metavar="N",
        help="random samples of each data set that --model predicts and attacks again",
    )
    parser.add_argument("--model", metavar="MODEL", help="model with the bundle's weights")
    parser.add_argument("--data", nargs="+", metavar="DATA", help="data sets of the bundle")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="for --recheck (auto)")
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Verify, and print what was found."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    given = [args.recheck is not None, args.model is not None, args.data is not None]
    if any(given) and not all(given):
        raise RequestError("--recheck N, --model and --data go together: give all three, or none")
    if args.recheck is not None and args.recheck < 1:
        raise RequestError(f"recheck is {args.recheck}: must be 1 or more")
    if args.add is not None and args.add.exists() and not args.add.is_dir():
        raise RequestError(f"{args.add} is a file: name the folder of a leaderboard")
    from zsrobust.bundle.archive import read_archive

    archive = read_archive(args.bundle)
    if all(given):
        from zsrobust.cli.preflight import check_evaluation
        from zsrobust.config.schema import EvaluateConfig

        config = EvaluateConfig(model=[args.model], data=args.data, device=args.device)
        check_evaluation(config, config.model)
    from zsrobust.bundle.entries import add_entry
    from zsrobust.bundle.verify import verify
    from zsrobust.reporting.commands import evaluate_command
    from zsrobust.utils.progress import printable

    found = verify(archive)
    rechecked: list[str] = []
    if all(given) and not found.contradictions:
        from zsrobust.bundle.recheck import recheck

        asked = recheck(found, config, args.recheck)
        rechecked = asked.checked
        found.unchecked[0] = "samples and attacks that the model was not asked about"
        found.contradictions.extend(asked.contradictions)
    said = {
        "agrees": [*found.checked, *rechecked],
        "not checked": found.unchecked,
        "warning": found.warnings,
        "not for a leaderboard": found.unfit,
        "contradiction": found.contradictions,
    }
    request = archive.manifest["request"]
    if request and not found.contradictions:
        command = evaluate_command(request, found.run.results.rows)
        output.show(printable(f"evaluated by: {command}"))
    for word, sentences in said.items():
        for sentence in sentences:
            output.show(printable(f"{word}: {sentence}"))
    added = None
    if args.add is not None and not found.contradictions:
        added = add_entry(found, args.add, "; ".join(rechecked))
        output.show(f"added: {added}")
    named = {word.replace(" ", "_"): sentences for word, sentences in said.items()}
    output.result({"bundle": args.bundle, "sha256": archive.sha256, **named, "added": added})
    if found.contradictions:
        number = len(found.contradictions)
        raise RunError(f"{args.bundle} contradicts itself: {number} contradictions")
