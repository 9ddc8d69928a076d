"""The licence of a pre-trained model, as far as its name tells."""

from __future__ import annotations

from dataclasses import dataclass

MIT_NAME = "mit"


@dataclass(frozen=True)
class Licence:
    """A licence.

    Attributes:
        spdx: the hub's word for it; empty where it is not known here.
        words: who says so, or where to look.
    """

    spdx: str
    words: str


def licence_of(source: str) -> Licence:
    """The licence of ``source``, a name that ``zsrobust.load`` takes."""
    if source == "glyph-clip":
        return Licence(MIT_NAME, "glyph-clip, like ZSRobust, is under the MIT licence.")
    if source.endswith("/random"):
        return Licence(MIT_NAME, "Its source has random weights, which nobody trained.")
    if source.endswith("/openai"):
        return Licence(
            MIT_NAME,
            "OpenAI published its source's weights with https://github.com/openai/CLIP, which is "
            "under the MIT licence; its model card there says what use it is not meant for.",
        )
    return Licence("", f"That of its source, which is not recorded here: see {_page(source)}.")


def _page(source: str) -> str:
    """Where the source's own licence is told."""
    if source.startswith("hf-hub:"):
        return f"https://huggingface.co/{source.removeprefix('hf-hub:')}"
    architecture, _, tag = source.rpartition("/")
    if architecture and ":" not in source and "@" not in source:
        import open_clip

        known = open_clip.get_pretrained_cfg(architecture.replace("/", "-"), tag)
        if known.get("hf_hub"):
            return f"https://huggingface.co/{known['hf_hub'].strip('/')}"
    return "where you have it from"
