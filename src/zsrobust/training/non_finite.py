"""What becomes of a step whose loss or gradient is not finite: stop, or skip and continue.

Either way the step is saved in a file that :func:`zsrobust.training.replay.replay` computes anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import save_file
from torch import Tensor

from zsrobust.data.batch import Batch
from zsrobust.utils.distributed import on_first
from zsrobust.utils.errors import NonFinite
from zsrobust.utils.files import atomic_folder

FOLDER = "non_finite"
# More in a row is no bad batch, but a model that is lost.
MOST_IN_A_ROW = 10
# Each record holds all weights. The first are saved: what follows is often their consequence.
MOST_RECORDS = 3
SCHEMA = 1


@dataclass
class NonFiniteSteps:
    """The steps of a run that were not finite.

    Attributes:
        folder: the run folder.
        skip: whether such a step is skipped; else it stops the run.
        total: how many were skipped.
        in_a_row: how many were, since the last that was finite.
    """

    folder: Path
    skip: bool
    total: int = 0
    in_a_row: int = 0

    def count(self, problem: str, step: int) -> None:
        """Count a step of number ``step``, as one to be skipped.

        Raises:
            NonFinite: if it is to stop the run, or too many have come in a row.
        """
        if not self.skip:
            raise NonFinite(f"{problem} at step {step}")
        if self.in_a_row == MOST_IN_A_ROW:
            raise NonFinite(f"{problem} at step {step}, after {self.in_a_row} skipped in a row")
        self.total += 1
        self.in_a_row += 1

    def record(
        self,
        accelerator: Accelerator,
        parts: Sequence[Batch],
        weights: Callable[[], dict[str, Tensor]],
        about: dict[str, object],
    ) -> str:
        """Write what the step ``about["step"]`` had before it; every process must ask for it.

        Args:
            accelerator: of all processes.
            parts: of this process's share of the batch.
            weights: gives all that is trained, as in a checkpoint, where this is the first process.
            about: further JSON values.

        Returns where the record is, as a clause.
        """
        path = self.folder / FOLDER / f"step-{about['step']:08d}"
        earlier = [other for other in path.parent.glob("step-*") if other != path]
        if not on_first(accelerator, lambda: len(earlier) < MOST_RECORDS):
            return f"{path.parent} holds {MOST_RECORDS} earlier ones"
        tensors = {f"trained.{name}": value for name, value in weights().items()}
        ids = []
        for number, part in enumerate(parts):
            batch = part.to(accelerator.device)
            # Images are whole levels of 255, so bytes hold them exactly.
            images = (batch.images * 255).round().to(torch.uint8)
            tensors[f"images.{number}"] = accelerator.gather(images).cpu()
            tensors[f"labels.{number}"] = accelerator.gather(batch.labels).cpu()
            ids.append(gather_object(part.sample_ids))
        content = json.dumps({"schema": SCHEMA, **about, "sample_ids": ids}, indent=1) + "\n"

        def write() -> str:
            try:
                with atomic_folder(path) as unfinished:
                    save_file(tensors, unfinished / "step.safetensors")
                    (unfinished / "step.json").write_text(content, encoding="utf-8")
            except OSError as error:
                return f"its record could not be saved: {error}"
            return f"its images, ids and weights are in {path}"

        return on_first(accelerator, write)
