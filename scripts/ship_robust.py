"""Make a run's model one that ships with the package: its image tower in fp16.

    python scripts/ship_robust.py RUN src/zsrobust/models/robust/glyph-clip-robust

Its card is written by hand, from an evaluation of what this leaves.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from zsrobust.models.loading import load
from zsrobust.models.weights import read_card, save_model

CARD_KEYS = ("step", "held_out", "relative_l2_distance")


def main() -> None:
    """Read the arguments and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run folder")
    parser.add_argument("out", help="the model folder to write")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    model = load(arguments.run)
    card = read_card(Path(model.name) / "model.json")
    # Paths on the machine that trained are private.
    names = frozenset(name for name in model.seen if not {"/", "\\"} & set(name))
    model = replace(model, encoder=model.encoder.half(), seen=names)
    save_model(out, model, model.method, **{key: card[key] for key in CARD_KEYS if key in card})
    print(json.dumps(read_card(out / "model.json"), indent=1))


if __name__ == "__main__":
    main()
