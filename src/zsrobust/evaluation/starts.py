"""What an evaluated model was fine-tuned from, where that was fine-tuned itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zsrobust.evaluation.results import Results, Row


def starts(results: Results) -> dict[str, str]:
    """By model, the evaluated one that its fine-tuning began from, by equal weights."""
    models = results.protocol.get("models", {})
    found = {}
    for model, about in models.items():
        weights = about.get("start", {}).get("weights")
        same = [name for name, other in models.items() if weights and other["weights"] == weights]
        if same:
            own = [name for name in same if name.endswith(f" (as {model})")]
            found[model] = (own or same)[0]
    return found


def below_start(results: Results) -> list[str]:
    """A sentence for each model whose accuracies, both of them, are below those of its start.

    They are means over the data sets, under one attack; differences are not tested.
    """
    return list(_below(results))


def _below(results: Results) -> Iterator[str]:
    for model, start in starts(results).items():
        for condition in dict.fromkeys(row.condition for row in results.rows):
            now, before = (_means(results.rows, one, condition) for one in (model, start))
            if now and before and now[0] < before[0] and now[1] < before[1]:
                yield (
                    f"{model} is below {start}, from which it was fine-tuned, in clean accuracy "
                    f"({now[0]:.1%} to {before[0]:.1%}) and under {condition} ({now[1]:.1%} to "
                    f"{before[1]:.1%})"
                )
                break


def _means(rows: list[Row], model: str, condition: str) -> tuple[float, float] | None:
    of = [row for row in rows if (row.model, row.condition) == (model, condition)]
    if not of:
        return None
    clean, robust = (
        np.mean([getattr(one, key) for one in of]) for key in ("clean_acc", "robust_acc")
    )
    return float(clean), float(robust)
