"""What of a configuration determines its results, and the names and hashes made of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from zsrobust.config.schema import Config, FinetuneConfig, to_plain

# Options that change where a run is or how fast, never what it computes.
UNCHANGING = frozenset(
    {"out", "overwrite", "device", "workers", "shard", "keep_checkpoints", "trackers"}
)
UNCHANGING_EVALUATION = UNCHANGING | {"batch_size", "sanity", "save_adversarial"}


def deciding(config: Config) -> dict[str, Any]:
    """The options of a configuration that determine its results."""
    free = UNCHANGING if isinstance(config, FinetuneConfig) else UNCHANGING_EVALUATION
    plain = to_plain(config)
    free = free if plain["code"] else free | {"code"}  # Names of most runs do not change for it.
    return {key: value for key, value in plain.items() if key not in free}


def recipe_hash(config: FinetuneConfig) -> str:
    """A hash of what determines a fine-tuning except its seed: equal for the seeds of a recipe."""
    return _hash({key: value for key, value in deciding(config).items() if key != "seed"})[:16]


def run_name(config: Config) -> str:
    """A folder name that differs for configurations whose results differ."""
    kind = config.method if isinstance(config, FinetuneConfig) else "evaluate"
    return f"{kind}-{_hash(deciding(config))[:8]}"


def _hash(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
