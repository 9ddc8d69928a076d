"""Fine-tune a CLIP's image encoder for zero-shot adversarial robustness."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from zsrobust.cli.output import Output, is_first_process
from zsrobust.cli.parser import add_dry_run, asks_for_help, split_dry_run
from zsrobust.config.parsing import (
    finetune_parser,
    finetune_parser_for,
    notes_on_method,
    parse_finetune,
)
from zsrobust.config.run_folder import check_out
from zsrobust.config.schema import to_plain
from zsrobust.objectives import OBJECTIVES


def parsers() -> list[ArgumentParser]:
    """One for each method: it decides which options the objective has."""
    made = [finetune_parser(method) for method in OBJECTIVES]
    for parser in made:
        add_dry_run(parser)
    return made


def run(argv: Sequence[str], output: Output) -> None:
    """Fine-tune, and say where the model is and how to evaluate it."""
    if asks_for_help(argv):
        parser = finetune_parser_for(argv)
        add_dry_run(parser)
        parser.print_help()
        return
    # What reads data imports numpy, which help can do without.
    from zsrobust.cli.preflight import check_training

    dry, argv = split_dry_run(argv)
    config = parse_finetune(argv)
    check_out(config)
    check_training(config)
    for note in notes_on_method(argv) if is_first_process() else ():
        output.warn(note)
    if dry:
        from zsrobust.training.dry_run import dry_run_finetuning

        output.show_dry_run(dry_run_finetuning(config))
        return
    from zsrobust.reporting.commands import OTHER, command_after
    from zsrobust.training.finetune import finetune

    done = finetune(config)
    if not is_first_process():
        return
    for line in done.warnings:
        output.warn(f"warning: {line}: fine-tune again at a lower optimizer.lr")
    attacked = config.objective is not None and config.objective.needs.attack is not None
    if not done.warnings and done.robust_acc == 0 and attacked:
        output.warn(
            "warning: no held-out image withstands the attack, so this model is not robust: start "
            "from a robust one (--model photo-lite-robust, or one of zsrobust models), or train on "
            "more images or for more steps"
        )
    held_out = {"clean_acc": done.clean_acc, "robust_acc": done.robust_acc}
    found = f"on held-out images clean {done.clean_acc:.1%}, robust {done.robust_acc:.1%}"
    if config.hold_out == 0:
        held_out, found = {}, "of the last step, no images were held out"
    command = command_after(to_plain(config), done.folder)
    output.show(f"model in {done.folder}: {found}\nnext: {command}")
    if OTHER in command:
        output.show(f"{OTHER} stands for class folders of images that were not trained on")
    output.result(
        {
            "folder": done.folder,
            "steps": done.steps,
            "held_out": held_out,
            "warnings": done.warnings,
        }
    )
