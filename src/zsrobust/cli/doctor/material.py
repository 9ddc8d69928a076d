"""Models and data sets at hand: what can be used without downloading anything."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from zsrobust.cli.doctor.finding import Finding

GLYPH_CLIP = ("b973cddc6b641990", "63c0a4558a6c82ec")
"""Fingerprints of the shipped image encoder and text side."""


def models() -> Iterator[Finding]:
    """The embedded models, and what the hub's cache and OpenAI's hold."""
    from huggingface_hub import constants

    from zsrobust.models import glyph_clip, photo_lite
    from zsrobust.models.weights import fingerprint
    from zsrobust.utils.errors import RequestError

    topic = "models"
    try:
        model = glyph_clip.load("glyph-clip")
        found = (fingerprint(model.encoder), model.text.fingerprint)
        right = found == GLYPH_CLIP
        words = "loads, weights as shipped" if right else "its weights are not those shipped"
    except RequestError as wrong:
        right, words = False, str(wrong)
    yield Finding(
        topic,
        "glyph-clip",
        "ok" if right else "broken",
        words,
        "" if right else "pip install --force-reinstall --no-deps zsrobust",
    )
    lacking = [package for package in photo_lite.PACKAGES if find_spec(package) is None]
    if lacking:
        yield Finding(topic, "photo-lite", "note", "not here, see the extra photo")
    else:
        yield Finding(topic, "photo-lite", "ok", "its packages are installed")
    hub, openai = Path(constants.HF_HUB_CACHE), Path.home() / ".cache" / "clip"
    cached = [folder.name.partition("--")[2].replace("--", "/") for folder in hub.glob("models--*")]
    yield Finding(topic, "hub cache", "ok", _listed(cached, hub))
    files = [file.name for file in openai.glob("*.pt")]
    yield Finding(topic, "OpenAI's weights", "ok", _listed(files, openai))


def data_sets(root: Path) -> Iterator[Finding]:
    """The published sets below ``root``; those of other places are not looked for."""
    from zsrobust.data.published.table import TABLE

    here = [name for name, known in TABLE.items() if known.below(root)]
    yield Finding("data", "embedded", "ok", "glyphs, glyph:SET, digits")
    words = f"{len(here)} of {len(TABLE)} below {root}"
    if here:
        yield Finding("data", "published sets", "ok", f"{words}: {', '.join(here)}")
    else:
        remedy = "zsrobust data prepare NAME brings one, zsrobust data list names them"
        yield Finding("data", "published sets", "note", words, remedy)


def _listed(names: list[str], place: Path) -> str:
    return f"{', '.join(sorted(names)) or 'nothing'} in {place}"
