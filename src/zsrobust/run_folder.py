"""A run folder holds one experiment: the same request again goes on, another one is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from zsrobust.config import Config, deciding, run_name, to_plain
from zsrobust.errors import RequestError
from zsrobust.files import remove_unfinished, write_text


def open_run(config: Config) -> Path:
    """The run folder of ``config``, made if need be, with ``config.yaml`` in it.

    Raises:
        RequestError: if it cannot be written, holds something else, or holds another run and
            ``overwrite`` is off.
    """
    out = Path(config.out) if config.out is not None else Path("runs") / run_name(config)
    recorded = out / "config.yaml"
    try:
        if out.exists() and not out.is_dir():
            raise RequestError(f"out {out} is a file: name a folder")
        if out.is_dir() and any(out.iterdir()):
            if not recorded.is_file():
                raise RequestError(
                    f"out {out} holds files but no config.yaml, so it is no run folder: "
                    "name an empty or new folder"
                )
            # Before anything is computed there is nothing to lose: a corrected request replaces.
            if config.overwrite or not _holds_work(out):
                shutil.rmtree(out)
            else:
                _refuse_another(out, _recorded(recorded), config)
        if not recorded.exists():
            write_text(recorded, yaml.safe_dump(_kept(config), sort_keys=False))
        remove_unfinished(out)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
    return out


def _holds_work(out: Path) -> bool:
    return any(entry.name != "config.yaml" for entry in out.iterdir())


def _kept(config: Config) -> dict[str, Any]:
    return {key: value for key, value in to_plain(config).items() if key != "overwrite"}


def _recorded(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise RequestError(f"{path} is damaged: use --overwrite true to start again")
    return content


def _refuse_another(out: Path, recorded: dict[str, Any], config: Config) -> None:
    asked = _flat(deciding(config))
    before = {key: value for key, value in _flat(recorded).items() if key in asked}
    changed = [
        f"{key}: {before.get(key)} there, {value} asked"
        for key, value in asked.items()
        if before.get(key) != value
    ]
    if changed:
        raise RequestError(
            f"out {out} holds another run ({'; '.join(changed)}): name another folder, or use "
            "--overwrite true to delete it"
        )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
