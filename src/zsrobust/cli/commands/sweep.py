"""Fine-tune recipes and seeds on one budget, and evaluate them under one protocol."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from zsrobust.cli.commands import finetune
from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser, add_dry_run, asks_for_help, split_dry_run
from zsrobust.config.parsing import options_parser, parse_evaluate, parse_finetune, parse_options
from zsrobust.config.recipes import recipe_names
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.sweep.on_ray import ClusterOptions
from zsrobust.sweep.plan import ORIGINAL, Sweep
from zsrobust.training.cost import steps_for
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import LEAST_ROOM, local_path, require_room
from zsrobust.utils.validation import require

USAGE = """\
usage: zsrobust sweep RECIPE... --out DIR [options]

Fine-tunes a model with every recipe and seed on one budget, evaluates all models under one
protocol, and writes a table and a plot. RECIPE is a packaged recipe (zsrobust recipes) or a YAML
file.

  --out DIR              output folder; the same command resumes, or prints stored results if
                         finished; several machines with the same folder share the runs
  --seeds 0 1 2          random seeds; one run per recipe and seed (0)
  --steps N              optimizer steps of every run; or
  --passes N             passes through the image encoder for each image of a batch, a forward one
                         and each kind of gradient counted as one: costlier methods get fewer steps
  --dry_run              print what would run, and its passes, time, memory and disk space; write
                         nothing
  --ray ADDRESS          do the runs as tasks of a Ray cluster (HOST:PORT; auto, on one of its
                         nodes; or local, on this machine), several at a time; a run whose node is
                         lost resumes on another one
  --cpus_per_run N       CPU cores, and threads, of a run on the cluster (1)
  --gpus_per_run N       its GPUs (1 where the cluster has any)
  --evaluation.KEY ...   any option of zsrobust evaluate: --evaluation.data, --evaluation.attack,
                         --evaluation.config, ...
  --KEY ...              any option of zsrobust finetune, for every recipe: --model, --data,
                         --attack.eps, --batch_size, ..."""

OWN = ("out", "seeds", "passes", "ray", "cpus_per_run", "gpus_per_run")
PREFIX = "--evaluation."
EVALUATION = tuple(f"evaluation.{field.name}" for field in fields(EvaluateConfig))
INSTEAD = {
    "--seed": "give --seeds, one run of each recipe for each",
    "--evaluation.model": "a sweep evaluates what it fine-tunes, and the original",
    "--evaluation.out": "evaluations are in the folder of the sweep, --out",
}


@dataclass(frozen=True)
class SweepOptions(ClusterOptions):
    """Options of the sweep itself.

    Attributes:
        out: folder of everything.
        seeds: one run of each recipe per seed.
        passes: passes for each image; null where steps are given.
    """

    out: str
    seeds: list[int] = field(default_factory=lambda: [0])
    passes: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.seeds) > 0, "seeds", self.seeds, "given at least once")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "given once each")
        require(self.passes is None or self.passes >= 1, "passes", self.passes, "1 or more")


def parsers() -> list[ArgumentParser]:
    """Recipes, the sweep's own options, and those of finetune."""
    parser = Parser()
    parser.add_argument("recipes", nargs="+", choices=recipe_names("finetune"))
    add_dry_run(parser)
    return [parser, options_parser(SweepOptions, command="sweep"), *finetune.parsers()]


def run(argv: Sequence[str], output: Output) -> None:
    """Run a sweep, and show its table."""
    if asks_for_help(argv):
        sys.stdout.write(f"{USAGE}\n")
        return
    # What reads data imports numpy, which help can do without.
    from zsrobust.cli.preflight import check_evaluation, check_training

    dry, argv = split_dry_run(argv)
    asked = parse_sweep(argv)
    if not asked.out.exists():
        require_room(asked.out, LEAST_ROOM, "the sweep")
    for config in asked.recipes.values():
        check_training(config)
    # Which models are evaluated is not known before they are trained.
    check_evaluation(asked.evaluation, [])
    if dry:
        from zsrobust.sweep.dry_run import dry_run_sweep

        output.show_dry_run(dry_run_sweep(asked))
        return
    from zsrobust.evaluation.checks.collapse import collapse_warnings
    from zsrobust.sweep.run import run_sweep

    swept = run_sweep(asked)
    output.show(swept.table.for_terminal(output.width))
    for line in (*swept.table.notes, f"table: {swept.table_file}"):
        output.show(line)
    for path in swept.figures:
        if path.suffix == ".png":
            output.show(f"figure: {path} (and .svg)")
    output.result(
        {
            "table": swept.table_file,
            "figures": swept.figures,
            "diverged": swept.diverged,
            "warnings": collapse_warnings(swept.run.results),
            "averages": swept.run.results.as_dict()["averages"],
        }
    )
    if swept.diverged:
        raise RunError(f"{len(swept.diverged)} runs diverged: {', '.join(swept.diverged)}")


def parse_sweep(argv: Sequence[str]) -> Sweep:
    """A sweep from command-line arguments.

    Raises:
        RequestError: if an argument, key or value is wrong; one sentence says which.
    """
    recipes, own, evaluation, finetuning = _sorted(argv)
    if not recipes:
        raise RequestError(
            f"name at least one recipe before the options: {', '.join(recipe_names('finetune'))}, "
            "or YAML files"
        )
    options = SweepOptions(
        **parse_options(SweepOptions, own, command="sweep", description="Many runs, one budget.")
    )
    names = [Path(recipe).stem if local_path(recipe).is_file() else recipe for recipe in recipes]
    for name in names:
        require(names.count(name) == 1, "RECIPE", f"{name} twice", "of different names")
        require(name != ORIGINAL, "RECIPE", name, f"not called {ORIGINAL}")
    configs = {
        name: _budgeted(
            parse_finetune(["--config", recipe, *finetuning], also=(*OWN, *EVALUATION)),
            name,
            options.passes,
        )
        for name, recipe in zip(names, recipes, strict=True)
    }
    try:
        # Which models are evaluated is not known before they are trained.
        asked = parse_evaluate([*evaluation, "--model", ORIGINAL])
    except RequestError as error:
        there = re.sub("--(?=[a-z])", PREFIX, str(error))
        raise RequestError(f"of the evaluation: {there}") from None
    return Sweep(
        configs,
        tuple(options.seeds),
        asked,
        local_path(options.out),
        cluster=options.cluster,
    )


def _budgeted(config: FinetuneConfig, name: str, passes: int | None) -> FinetuneConfig:
    if passes is not None:
        config = replace(config, steps=steps_for(passes, config))
    if config.steps is None:
        raise RequestError(
            f"{name} has no number of steps: give all recipes the same with --steps, or --passes"
        )
    return config


def _sorted(argv: Sequence[str]) -> tuple[list[str], list[str], list[str], list[str]]:
    """Recipes, and the arguments of the sweep itself, the evaluation, and every fine-tuning."""
    recipes: list[str] = []
    own: list[str] = []
    evaluation: list[str] = []
    finetuning: list[str] = []
    seeds: list[str] = []
    to = recipes
    for argument in argv:
        if instead := INSTEAD.get(argument.partition("=")[0]):
            raise RequestError(f"there is no option {argument.partition('=')[0]}: {instead}")
        key = argument.removeprefix("--").partition("=")[0]
        if argument.startswith(PREFIX):
            to, argument = evaluation, f"--{argument.removeprefix(PREFIX)}"
        elif argument == "--seeds":
            to = seeds
            continue
        elif argument.startswith("--"):
            to = own if key in OWN else finetuning
        to.append(argument)
    if seeds:
        own.append(f"--seeds=[{','.join(seeds)}]")
    return recipes, own, evaluation, finetuning
