"""Hateful Memes: one JSON object a line, ``{"img": "img/42953.png", "label": 1, ...}``."""

from __future__ import annotations

import json
from pathlib import Path

from zsrobust.data.published.listing import Listing
from zsrobust.utils.errors import RequestError


def hateful_memes(base: Path, split: str) -> Listing:
    """``<split>.jsonl`` and ``img``.

    Raises:
        RequestError: naming the line, if one is no object with a path and a label.
    """
    listing = base / f"{split}.jsonl"
    if not listing.is_file():
        raise RequestError(f"{listing} is missing: unpack the set's archive of that split too")
    labels, paths = [], []
    for number, line in enumerate(listing.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            labels.append(int(row["label"]))
            paths.append(str(row["img"]))
        except (ValueError, KeyError, TypeError):
            raise RequestError(
                f"{listing} line {number} must be a JSON object with img and label; the set's "
                "first release has no labels for its test split"
            ) from None
    return Listing(("0", "1"), labels, paths)
