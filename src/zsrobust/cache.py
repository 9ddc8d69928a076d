"""Where results that only save time are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$ZSROBUST_CACHE``, else ``zsrobust`` in the user's cache folder. Not created here."""
    if "ZSROBUST_CACHE" in os.environ:
        return Path(os.environ["ZSROBUST_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zsrobust"
