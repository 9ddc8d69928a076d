"""Bundle an evaluation in one file that others can verify, for the leaderboard.

The file holds the results, the outcome of every sample, and a manifest: hash of the weights,
attacks, data sets, environment and request. It holds no images and no absolute paths.
"""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.run_folder import require_folders
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """A run, and the file."""
    parser = Parser(prog="zsrobust bundle", description=__doc__)
    parser.add_argument("run", type=local_path, metavar="RUN", help="folder of evaluate")
    parser.add_argument("--out", type=local_path, metavar="FILE", help="output file (RUN.zip)")
    parser.add_switch("--overwrite", help="replace the output file")
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Write the bundle, and say what it is of."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    require_folders([args.run])
    out = args.out or args.run.resolve().with_name(f"{args.run.resolve().name}.zip")
    if out.is_dir():
        raise RequestError(f"out {out} is a folder: name a file")
    if out.exists() and not args.overwrite:
        raise RequestError(f"out {out} is there already: name another file, or use --overwrite")
    from zsrobust.evaluation.evaluated_run import EvaluatedRun

    run = EvaluatedRun.read(args.run)
    from zsrobust.bundle.create import write_bundle

    found = write_bundle(run, out)
    for sentence in [*found.warnings, *found.unfit]:
        output.warn(f"warning: {sentence}")
    manifest = found.archive.manifest
    models = (f"{name} (weights {about['weights']})" for name, about in manifest["models"].items())
    output.show(f"{out}: {', '.join(models)}; {out.stat().st_size:,} bytes")
    output.show(f"its figures follow from its outcomes; zsrobust verify {out} lists the checks")
    output.result({"bundle": out, "sha256": found.archive.sha256, "manifest": manifest})
