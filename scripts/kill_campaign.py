"""Kill runs with SIGKILL at random moments, resume them and compare with an uninterrupted run.

A run is a fine-tuning of a tiny model and an evaluation of the result, with one thread. One third
of the kills occur at any moment, one third while a file is being written, one third during the
evaluation. After each kill every file except temporary ones must be intact. After the last kill,
the resumed run must end with the same files, byte for byte, as the uninterrupted run, except for
the speed in ``metrics.jsonl`` and the record of the environment. Processes are forked, so that they
need not import torch again; the script needs a system with fork.

    python scripts/kill_campaign.py --kills 100 --out kill_campaign
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow.dataset  # noqa: F401  (imported once, before processes are forked)
import pyarrow.parquet as pq
import torch
from open_clip.push_to_hf_hub import save_for_hf
from PIL import Image

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.training.finetune import finetune
from zsrobust.utils.units import Eps

FORK = multiprocessing.get_context("fork")
KILLS_A_RUN = 10
AIMS = ("any moment", "a file being written", "the evaluation")
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


class NoTokenizer:
    """Not saved, because the tokenizer of open_clip is used."""

    def save_pretrained(self, folder: str) -> None:
        """Write nothing."""


def make_inputs(folder: Path) -> None:
    """Save a tiny CLIP with random weights and 4 classes of 30 noisy images, one colour each."""
    torch.manual_seed(0)
    open_clip.factory._MODEL_CONFIGS["tiny"] = TINY
    save_for_hf(open_clip.create_model("tiny"), NoTokenizer(), TINY, str(folder / "clip"), True)
    noise = np.random.default_rng(0)
    for label, colour in enumerate([(200, 40, 40), (40, 200, 40), (40, 40, 200), (180, 180, 30)]):
        images = folder / "images" / f"class_{label}"
        images.mkdir(parents=True)
        for index in range(30):
            pixels = np.clip(np.array(colour) + noise.integers(-60, 60, (16, 16, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(images / f"{index}.png")


def work(inputs: Path, folder: Path, cache: Path, log: Path) -> None:
    """The run, in its own process; paths in its files are relative to ``folder``."""
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ["ZSROBUST_CACHE"] = str(cache)
    os.chdir(folder)
    torch.set_num_threads(1)
    data = f"imagefolder:{inputs / 'images'}"
    training = FinetuneConfig(
        model=f"local-dir:{inputs / 'clip'}",
        data=data,
        out="training",
        steps=20,
        batch_size=8,
        hold_out=0.2,
        evaluate_every=8,
        checkpoint_every=1,
        device="cpu",
        ema=0.9,
        optimizer=Optimizer(lr=0.02, warmup_steps=4),
        attack=TrainingAttack(eps=Eps("4/255"), step_size=Eps("2/255"), steps=2),
    )
    finetune(training)
    evaluation = EvaluateConfig(
        model=["training"],
        data=[data],
        out="evaluation",
        attack=["pgd-5", "pgd-5-margin", "noise-5"],
        eps=[Eps("2/255")],
        device="cpu",
    )
    evaluate(evaluation)


def strike(process: multiprocessing.process.BaseProcess, moment: Callable[[], bool]) -> bool:
    """Kill ``process`` when ``moment`` is true; return whether it was still running."""
    while process.is_alive():
        if moment():
            process.kill()
            process.join()
            return process.exitcode == -9
        time.sleep(0.002)
    return False


def chance(aim: str, folder: Path, seconds: float, rng: random.Random) -> Callable[[], bool]:
    """When to kill the run in ``folder``, which takes ``seconds``."""
    begun = time.monotonic()
    wait = rng.uniform(0, seconds)

    def waited() -> bool:
        return time.monotonic() - begun > wait

    def writing() -> bool:
        if not waited() or not temporary(folder):
            return False
        time.sleep(rng.uniform(0, 0.003))
        return True

    def evaluating() -> bool:
        nonlocal begun
        if not (folder / "evaluation" / "parts").exists():
            begun = time.monotonic()
        return time.monotonic() - begun > wait / 4

    return {AIMS[0]: waited, AIMS[1]: writing, AIMS[2]: evaluating}[aim]


def temporary(folder: Path) -> list[Path]:
    """Unfinished files and folders."""
    # Unlike Path.rglob, os.walk passes over a folder that is renamed while it is read.
    return [
        Path(where, name)
        for where, folders, files in os.walk(folder)
        for name in (*folders, *files)
        if name.startswith(".") and name.endswith((".tmp", ".old"))
    ]


def phase(folder: Path) -> str:
    """What a killed run was doing, judged by its files."""
    if temporary(folder):
        return "writing"
    return "evaluating" if (folder / "evaluation" / "config.yaml").exists() else "training"


def damaged(folder: Path) -> list[str]:
    """The damaged files, except for temporary ones."""
    found = []
    unfinished = temporary(folder)
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or any(part in (path, *path.parents) for part in unfinished):
            continue
        try:
            if path.suffix == ".json":
                for name, value in _hashes(json.loads(path.read_text())).items():
                    digest = hashlib.sha256((path.parent / name).read_bytes()).hexdigest()
                    assert digest == value, name
            elif path.suffix == ".parquet":
                pq.read_table(path)
        except (OSError, ValueError, AssertionError) as error:
            found.append(f"{path}: {error}")
    return found


def _hashes(content: Any) -> dict[str, str]:
    """The hashes that a JSON file holds, by the name of a file in the same folder."""
    of = content.get("sha256", {}) if isinstance(content, dict) else {}
    found = {"model.safetensors": of} if isinstance(of, str) else of
    return {name: value for name, value in found.items() if name.endswith(".safetensors")}


def contents(folder: Path) -> dict[str, object]:
    """All files of a run by name, without speeds and environments."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name in (".lock", "environment.json"):
            continue
        name = path.relative_to(folder).as_posix()
        if path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{**row, "images_per_second": 0} for row in rows]
        elif path.name == "results.json":
            found[name] = {**json.loads(path.read_text()), "environment": {}}
        else:
            found[name] = path.read_bytes()
    return found


def differences(folder: Path, reference: Path) -> list[str]:
    """The names of the files that differ between two runs."""
    ours, theirs = contents(folder), contents(reference)
    return sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))


def campaign(kills: int, out: Path, seed: int, say: Callable[[str], None]) -> dict[str, object]:
    """Kill and resume runs; return the counts."""
    rng = random.Random(seed)
    inputs, reference = out / "inputs", out / "reference"
    # Building the tokenizer takes longer than the rest of a run and reads no file of it.
    open_clip.get_tokenizer = functools.cache(open_clip.get_tokenizer)
    making = FORK.Process(target=make_inputs, args=(inputs,))
    making.start()
    making.join()
    open_clip.get_tokenizer(f"local-dir:{inputs / 'clip'}")

    def begin(folder: Path, cache: str) -> multiprocessing.process.BaseProcess:
        folder.mkdir(exist_ok=True)
        process = FORK.Process(target=work, args=(inputs, folder, out / cache, out / "log.txt"))
        process.start()
        return process

    started = time.monotonic()
    alone = begin(reference, "cache-of-reference")
    alone.join()
    assert alone.exitcode == 0, (out / "log.txt").read_text()
    seconds = time.monotonic() - started
    say(f"an uninterrupted run takes {seconds:.1f} s")

    done, here, runs = 0, 0, 0
    at: Counter[str] = Counter()
    failures: list[str] = []
    while done < kills or here:
        folder = out / f"run-{runs:03d}"
        begun = time.monotonic()
        process = begin(folder, "cache")
        if done < kills and here < KILLS_A_RUN:
            aim = AIMS[done % len(AIMS)]
            if strike(process, chance(aim, folder, seconds, rng)):
                at[phase(folder)] += 1
                failures += damaged(folder)
                done, here = done + 1, here + 1
                continue
        process.join()
        if here == 0:
            # The load of the machine may have changed.
            seconds = time.monotonic() - begun
        if process.exitcode:
            failures.append(f"{folder}: ended with {process.exitcode}")
        failures += [f"{folder / name} differs" for name in differences(folder, reference)]
        say(f"{done} kills; {folder} ended after {here}, {len(failures)} failures so far")
        here, runs = 0, runs + 1
        if not failures:
            shutil.rmtree(folder)
    return {
        "kills": done,
        "killed while": dict(sorted(at.items())),
        "runs": runs,
        "failures": failures,
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    """Print the counts as JSON; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    given = parser.parse_args()
    given.out.mkdir(parents=True)
    # Before the first operation: a process forked from one with a thread pool would deadlock.
    torch.set_num_threads(1)
    figures = campaign(
        given.kills, given.out.resolve(), given.seed, lambda line: print(line, file=sys.stderr)
    )
    print(json.dumps(figures, indent=1))
    return 1 if figures["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
