"""A recorded step once more, to see why it was not finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from zsrobust.config.parsing import parse_finetune
from zsrobust.config.run_folder import CONFIG
from zsrobust.data.batch import Batch
from zsrobust.training.finetune import trainer_of
from zsrobust.training.non_finite import SCHEMA
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.errors import NonFinite, RequestError
from zsrobust.utils.noise import sample_key


def replay(record: Path | str) -> dict[str, float]:
    """The figures of a step that was not finite, computed anew by one process.

    Nothing is written. The same request, weights, images and noise give the same figures up to
    rounding, on the machine that the run's ``config.yaml`` names.

    Args:
        record: a folder ``RUN/non_finite/step-00000123``; RUN's data and model must be there.

    Returns:
        The loss parts and ``grad_norm``, over the whole batch.

    Raises:
        RequestError: if the record is damaged, or the run cannot be set up again.
    """
    record = Path(record)
    about, tensors = _read(record)
    run = record.parents[1]
    config = parse_finetune(["--config", str(run / CONFIG)])
    trainer = trainer_of(config, run, make_accelerator(config.device))
    prefix = "trained."
    trainer.step.encoder.checkpointed.load_state_dict(
        {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    )
    parts = [
        Batch(tensors[f"images.{n}"].float().div_(255), tensors[f"labels.{n}"], ids)
        for n, ids in enumerate(about["sample_ids"])
    ]
    with full_precision(), torch.random.fork_rng():
        torch.manual_seed(sample_key(config.seed, "dropout", about["step"] - 1, "0", 0))
        try:
            return trainer.step(
                parts,
                epoch=about["epoch"],
                global_batch=config.batch_size,
                done=about["step"] - 1,
            )
        except NonFinite as error:
            return error.figures


def _read(record: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        about = json.loads((record / "step.json").read_text(encoding="utf-8"))
        if about["schema"] != SCHEMA:
            raise RequestError(f"{record} has another schema: this reads {SCHEMA}")
        return about, load_file(record / "step.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RequestError(f"{record} is no record of a step, or damaged: {error}") from None
