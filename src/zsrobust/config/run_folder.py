"""A run folder holds one experiment: the same request resumes it, another one is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml
from filelock import FileLock, Timeout

from zsrobust.config.identity import deciding, run_name
from zsrobust.config.schema import Config, FinetuneConfig, to_plain
from zsrobust.utils.errors import InUse, RequestError
from zsrobust.utils.files import (
    LEAST_ROOM,
    local_path,
    near_folder,
    remove_unfinished,
    require_room,
    write_text,
)

CONFIG = "config.yaml"
LOCK = ".lock"
# Everything a run writes, and all that --overwrite deletes: the folder may hold other files.
WORK = (
    "environment.json",
    "metrics.jsonl",
    "tensorboard",
    "trackers.json",
    "wandb",
    "checkpoints",
    "non_finite",
    "model",
    "parts",
    "outcomes.parquet",
    "results.json",
    "sanity.md",
    "adversarial",
)


def find_run(config: Config) -> Path:
    """The run folder of ``config``, which can be written; ``claimed`` makes it if need be.

    Raises:
        RequestError: if it cannot be written, holds something else, or holds another run and
            ``overwrite`` is off.
    """
    out = check_out(config)
    with _writing(out):
        there = next(folder for folder in (out, *out.parents) if folder.exists())
        with TemporaryFile(dir=there):
            return out


def check_out(config: Config) -> Path:
    """The run folder of ``config``, which need not be there yet.

    Raises:
        RequestError: if it cannot be read, holds something else, or holds another run and
            ``overwrite`` is off; or if it is new and the disk is full.
    """
    out = local_path(config.out) if config.out is not None else Path("runs") / run_name(config)
    with _writing(out):
        if out.exists() and not out.is_dir():
            raise RequestError(f"out {out} is a file: name a folder")
        holds = out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir())
        if not holds:
            require_room(out, LEAST_ROOM, "a run")
    if holds:
        _refuse_foreign(out, config)
        if _holds_work(out) and not config.overwrite:
            _refuse_another(out, config)
    return out


def require_folders(runs: Sequence[Path]) -> None:
    """Refuse run folders that are not there.

    Raises:
        RequestError: naming the first.
    """
    for run in runs:
        if not run.is_dir():
            raise RequestError(f"{run} is not a folder: name a run folder{near_folder(run)}")


def in_use(out: Path) -> bool:
    """Whether another process works in it; one that begins a moment later is not seen."""
    if not (out / LOCK).is_file():
        return False
    try:
        with FileLock(out / LOCK).acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def claimed(out: Path, config: Config) -> Iterator[None]:
    """Hold the run folder for the length of the block, ``config.yaml`` written.

    What an earlier run left is deleted where ``overwrite`` asks for it.

    Raises:
        InUse: if another process works in it.
    """
    lock = FileLock(out / LOCK)
    try:
        with _writing(out):
            out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InUse(f"out {out} is in use by another process: wait, or stop it") from None
    try:
        with _writing(out):
            remove_unfinished(out)
            if config.overwrite or not _holds_work(out):
                _delete_work(out)
                recorded = {key: v for key, v in to_plain(config).items() if key != "overwrite"}
                text = yaml.safe_dump(recorded, sort_keys=False)
                write_text(out / CONFIG, f"{_title(config)}\n{text}")
        yield
    finally:
        lock.release()


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None


def _title(config: Config) -> str:
    command = "finetune" if isinstance(config, FinetuneConfig) else "evaluate"
    return f"# zsrobust {command}: the request of this run folder, and a --config for another"


def _holds_work(out: Path) -> bool:
    # A run that failed as it began leaves where it was, and nothing else.
    return any((out / name).exists() for name in WORK if name != "environment.json")


def _delete_work(out: Path) -> None:
    for name in WORK:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _refuse_foreign(out: Path, config: Config) -> None:
    try:
        first_line = (out / CONFIG).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        first_line = ""
    if first_line != _title(config):
        command = _title(config).split()[2].rstrip(":")
        raise RequestError(
            f"out {out} holds files and is no run folder of zsrobust {command}: "
            "name an empty or new folder"
        )


def _refuse_another(out: Path, config: Config) -> None:
    try:
        before = _flat(yaml.safe_load((out / CONFIG).read_text(encoding="utf-8")))
    except (yaml.YAMLError, AttributeError):
        raise RequestError(
            f"{out / CONFIG} is damaged: use overwrite true to start again"
        ) from None
    changed = [
        f"{key}: {before.get(key)} there, {value} asked"
        for key, value in _flat(deciding(config)).items()
        if before.get(key) != value
    ]
    if changed:
        raise RequestError(
            f"out {out} holds another run ({'; '.join(changed)}): name another folder, or use "
            "overwrite true to delete it"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
