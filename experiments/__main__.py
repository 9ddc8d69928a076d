"""Run a study, or show the saved results of one.

    python -m experiments methods           # resumes where it was interrupted
    python -m experiments methods --show    # of runs/methods, or else the committed results
    python -m experiments recipe --show
    python -m experiments guidance DIR      # with the data sets of the plan in DIR

The plan of a study is ``experiments/NAME.yaml``; one without a plan is finished, and can be shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zsrobust.sweep.plan_file import load_study, needs_root
from zsrobust.sweep.run_study import run_study, show_study
from zsrobust.utils.errors import ZSRobustError

HERE = Path(__file__).parent
COMMITTED = HERE.parent / "docs" / "replication"


def main(argv: Sequence[str] | None = None) -> int:
    plans = sorted(path.stem for path in HERE.glob("*.yaml"))
    finished = sorted(path.parent.name for path in HERE.glob("*/results"))
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("study", choices=[*plans, *finished])
    parser.add_argument("root", nargs="?", type=Path, help="folder of the plan's data sets")
    parser.add_argument("--out", type=Path, help="folder of everything (runs/NAME)")
    parser.add_argument("--show", action="store_true", help="compute nothing")
    args = parser.parse_args(argv)
    if args.study in finished and not args.show:
        parser.error(f"{args.study} is finished, see {HERE / args.study / 'README.md'}: use --show")
    wanted = args.study in plans and needs_root(HERE / f"{args.study}.yaml")
    if wanted and args.root is None:
        parser.error(f"{args.study} needs the folder of its data sets: name it after the study")
    if args.root is not None and not wanted:
        parser.error(f"{args.study} reads no folder of data sets: leave {args.root} out")
    out = args.out or (HERE / args.study if args.study in finished else Path("runs") / args.study)
    if args.show and not args.out and not out.exists() and (COMMITTED / args.study).is_dir():
        out = COMMITTED / args.study
    try:
        if args.study in finished:
            shown = show_study(out)
        else:
            study = load_study(HERE / f"{args.study}.yaml", out, args.root)
            shown = show_study(out, study) if args.show else run_study(study)
    except ZSRobustError as error:
        print(f"experiments: {error}", file=sys.stderr)
        return error.exit_code
    print(shown.text)
    for name, count in shown.missing.items():
        if count:
            print(f"{name}: {count} models are not evaluated yet")
    print(f"tables: {shown.tables}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
