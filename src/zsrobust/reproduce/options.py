"""The words of ``zsrobust reproduce``."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.utils.validation import check_types

USAGE = """\
usage: zsrobust reproduce glyphs [options]
       zsrobust reproduce methods [options]
       zsrobust reproduce photos DIR [options]
       zsrobust reproduce paper ROOT [options]

Asks whether PMG-AFT beats TeCoA, on the average over sets that none was fine-tuned on;
docs/replication.md and methods.md say what came out.

  glyphs       glyph-clip on the embedded world
  methods      the same with every method of the field, and with every adapter
  photos       photo-lite, fine-tuned on the TinyImageNet in DIR, on further sets of the paper there
  paper        CLIP ViT-B/32 on the paper's sixteen sets in ROOT, with the authors' recipes

All but the last search for every method's learning rate by one rule. glyphs and photos then compare
three seeds with equal steps and with equal passes, change one thing at a time, and end with
AutoAttack; methods compares one seed of each with equal steps, and the five best on held-out images
with three seeds and under AutoAttack.

  --out DIR    folder of everything (runs/reproduce-WORLD); the same command goes on from there, and
               started again elsewhere on the same folder it shares the work
  --show       compute nothing: tables and figures of what is there, as from the committed results
               in docs/replication/WORLD
  --dry-run    say what would be run, what is missing here, and what it would cost (paper)"""

WORLDS = {"glyphs": 0, "methods": 0, "photos": 1, "paper": 1}
"""How many folders each takes."""


@dataclass(frozen=True)
class Options:
    """Options of ``zsrobust reproduce``.

    Attributes:
        out: folder of everything; null for one under runs/.
        show: compute nothing.
        dry_run: say what would be run.
    """

    out: str | None = None
    show: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        check_types(self)
