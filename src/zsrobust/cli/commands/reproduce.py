"""Reproduce the comparison of PMG-AFT and TeCoA, from fine-tuning to tables and figures."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser, asks_for_help
from zsrobust.config.parsing import options_parser, parse_options
from zsrobust.models.names import check_name
from zsrobust.sweep.on_ray import Cluster, ClusterOptions
from zsrobust.sweep.plan_file import can_rehearse, load_study, needs_root, plan_names, plan_path
from zsrobust.sweep.study import Study
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path
from zsrobust.utils.validation import unknown

USAGE = """\
usage: zsrobust reproduce glyphs [options]
       zsrobust reproduce photos DIR [options]
       zsrobust reproduce paper DIR [options]

Fine-tunes with PMG-AFT, TeCoA and clean fine-tuning, and compares clean and robust accuracy on the
average over unseen data sets. docs/replication.md has the results.

  glyphs       glyph-clip on its embedded sets
  photos       photo-lite, fine-tuned on the TinyImageNet in DIR, on a suite of eighteen sets there;
               docs/replication_photos.md says what they hold
  paper        CLIP ViT-B/32 on the paper's sixteen sets in DIR, with the authors' recipes

glyphs and photos search for the learning rate of every method by one rule, compare three seeds at
equal steps, and run AutoAttack; glyphs also compares at equal passes and changes one option at a
time.

  --out DIR    output folder (runs/reproduce-NAME); the same command resumes, or prints stored
               results if finished; several machines with the same folder share the runs
  --show       run nothing: tables and figures of stored results, such as docs/replication/NAME
  --ray ADDRESS, --cpus_per_run N, --gpus_per_run N
               do the runs as tasks of a Ray cluster, as in zsrobust sweep
  --dry-run    list the runs, missing data sets and the cost, without running anything (paper)
  --rehearse   all of it in minutes, without DIR: a few steps and synthetic images (paper)
  --model NAME with --rehearse: another model, such as a small one"""


@dataclass(frozen=True)
class Options(ClusterOptions):
    """Options of ``zsrobust reproduce``.

    Attributes:
        out: folder of everything; null for one under runs/.
        show: compute nothing.
        dry_run: list what would be run.
        rehearse: run all of it in minutes, on synthetic images.
        model: of the rehearsal; null for the plan's.
    """

    out: str | None = None
    show: bool = False
    dry_run: bool = False
    rehearse: bool = False
    model: str | None = None


@dataclass(frozen=True)
class Request:
    """A study that was asked for.

    Attributes:
        out: its folder.
        study: what it consists of; None where saved results are shown and nothing else is there.
        root: folder of its data sets; None where it needs none.
        compute: whether to run anything.
        dry_run: whether to list what would be run instead.
        rehearse: the plan to rehearse instead; None for none.
        model: of the rehearsal; None for the plan's.
        cluster: where the runs are done; None for this process, one after the other.
    """

    out: Path
    study: Study | None
    root: Path | None
    compute: bool
    dry_run: bool
    rehearse: Path | None = None
    model: str | None = None
    cluster: Cluster | None = None


def parsers() -> list[ArgumentParser]:
    """What to reproduce, and its options."""
    parser = Parser()
    parser.add_argument("plan", choices=plan_names())
    parser.add_argument("root", metavar="DIR")
    return [parser, options_parser(Options, command="reproduce")]


def run(argv: Sequence[str], output: Output) -> None:
    """Run a plan, and show its tables."""
    if asks_for_help(argv):
        sys.stdout.write(f"{USAGE}\n")
        return
    request = parse_reproduce(argv)
    study = request.study
    if request.dry_run and study is not None and request.root is not None:
        from zsrobust.sweep.dry_run import dry_run

        lines = dry_run(study, request.root)
        for line in lines:
            output.show(line)
        output.result({"plan": lines})
        return
    from zsrobust.sweep.run_study import run_study, show_study

    stages: list[str] = []
    if request.rehearse is not None:
        from zsrobust.sweep.rehearsal import rehearse

        rehearsed = rehearse(request.rehearse, request.out, request.root, request.model)
        found, stages = rehearsed.shown, rehearsed.stages
    elif study is not None and request.compute:
        found = run_study(study, request.cluster)
    else:
        found = show_study(request.out, study)
    output.show(found.text)
    for name, count in found.missing.items():
        if count:
            output.show(f"{name}: {count} models not evaluated yet")
    output.show(f"tables: {found.tables}")
    for path in found.figures:
        if path.suffix == ".png":
            output.show(f"figure: {path} (and .svg)")
    if found.report:
        output.show(f"report: {found.report}")
    for line in stages:
        output.show(line)
    output.result(
        {
            **{"tables": found.tables, "figures": found.figures, "missing": found.missing},
            **({"report": found.report} if found.report else {}),
            **({"stages": stages} if stages else {}),
        }
    )


def parse_reproduce(argv: Sequence[str]) -> Request:
    """A study from command-line arguments.

    Raises:
        RequestError: if an argument or value is wrong, or data are missing.
    """
    names = plan_names()
    if not argv:
        raise RequestError(f"give a plan: {', '.join(names)}")
    name, rest = argv[0], list(argv[1:])
    if name not in names:
        raise RequestError(unknown("plan", name, names))
    folders = []
    while rest and not rest[0].startswith("-"):
        folders.append(rest.pop(0))
    rest = [one.replace("--dry-run", "--dry_run") for one in rest]
    options = Options(
        **parse_options(Options, rest, command="reproduce", description="Does PMG-AFT beat TeCoA?")
    )
    if options.dry_run and name != "paper":
        raise RequestError(f"--dry-run is for paper: reproduce {name} needs no plan")
    if options.model is not None and not options.rehearse:
        raise RequestError("--model is for --rehearse: a plan says what it fine-tunes")
    if options.rehearse:
        return _rehearsal(name, folders, options)
    out = local_path(options.out or f"runs/reproduce-{name}")
    needed = int(needs_root(plan_path(name)))
    if options.show and not folders:
        if not (out / "runs").is_dir():
            return Request(out, None, None, compute=False, dry_run=False)
        if needed:
            raise RequestError(
                f"{out} holds runs: name the folder of data sets that they were made with"
            )
    if len(folders) != needed:
        needs = "a folder of data sets" if needed else "no folder"
        given = " ".join(folders) or "none"
        raise RequestError(f"reproduce {name} takes {needs}, given: {given}")
    root = local_path(folders[0]) if folders else None
    study = load_study(plan_path(name), out, root, partial=options.dry_run)
    return Request(out, study, root, not options.show, options.dry_run, cluster=options.cluster)


def _rehearsal(name: str, folders: list[str], options: Options) -> Request:
    if options.dry_run:
        raise RequestError("--rehearse runs everything: leave --dry-run out")
    if options.ray is not None:
        raise RequestError("--rehearse runs in one process: leave --ray out")
    plan = plan_path(name)
    if not can_rehearse(plan):
        known = [one for one in plan_names() if can_rehearse(plan_path(one))]
        raise RequestError(f"--rehearse is for {', '.join(known)}: {name} has no rehearsal")
    if len(folders) > 1:
        raise RequestError(f"reproduce {name} takes one folder, given: {' '.join(folders)}")
    root = local_path(folders[0]) if folders else None
    if root is not None and not root.is_dir():
        raise RequestError(f"there is no folder {root}: leave it out, a rehearsal needs none")
    if options.model is not None:
        check_name(options.model)
    out = local_path(options.out or f"runs/rehearse-{name}")
    if options.show:
        return Request(out, None, None, compute=False, dry_run=False)
    return Request(out, None, root, True, False, plan, options.model)
