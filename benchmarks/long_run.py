"""Memory, open files and log size of a long fine-tuning, read while it runs.

    python -m benchmarks.long_run --steps 10000

Prints a line after every tenth of the steps: anonymous memory, open files, threads and the sizes of
metrics.jsonl and of the run folder. Linux only, because it reads /proc.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import open_clip
import torch
from open_clip.push_to_hf_hub import save_for_hf

import zsrobust
from zsrobust.training.trainer import Trainer

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 16, "patch_size": 4},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}


class Tokenizer:
    def save_pretrained(self, folder): ...


def tiny_model(folder: Path) -> str:
    """The name of a random CLIP so small that ten thousand steps take minutes."""
    open_clip.factory._MODEL_CONFIGS["tiny"] = TINY
    torch.manual_seed(0)
    save_for_hf(open_clip.create_model("tiny"), Tokenizer(), TINY, str(folder), True)
    return f"local-dir:{folder}"


def anonymous_memory_mb() -> float:
    """Resident memory without mapped files, which the system may drop at any time."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    given = parser.parse_args()
    marks = {max(1, given.steps * tenth // 10) for tenth in range(11)} | {100}
    train = Trainer._train

    def watched(trainer: Trainer, *arguments: object) -> None:
        train(trainer, *arguments)
        if trainer.done in marks:
            print(
                f"step {trainer.done:6d}  {anonymous_memory_mb():7.1f} MB  "
                f"{len(list(Path('/proc/self/fd').iterdir())):3d} open files  "
                f"{threading.active_count()} threads  "
                f"{(trainer.folder / 'metrics.jsonl').stat().st_size:8d} bytes of metrics  "
                f"{size(trainer.folder):9d} bytes in the run folder",
                flush=True,
            )

    Trainer._train = watched
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        zsrobust.finetune(
            zsrobust.recipe(
                "tecoa",
                model=tiny_model(Path(folder) / "tiny"),
                data="digits",
                out=f"{folder}/run",
                steps=given.steps,
                batch_size=4,
                evaluate_every=given.steps // 4,
                device="cpu",
                hold_out=0.02,
                attack={"steps": 1},
                optimizer={"lr": 1e-5, "warmup_steps": 0},
            )
        )
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        print(
            f"{given.steps} steps in {time.monotonic() - began:.0f} s; metrics.jsonl has "
            f"{len(lines)} lines, {sum(map(len, lines)) + len(lines)} bytes"
        )


if __name__ == "__main__":
    main()
