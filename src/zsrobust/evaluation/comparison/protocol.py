"""Whether two results were measured the same way: what may be compared, and what may not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zsrobust.evaluation.results import Results, Row
from zsrobust.utils.errors import RequestError


def require_same_protocol(a: Results, row_a: Row, b: Results, row_b: Row) -> None:
    """Refuse two rows of one data set, one attack and one eps that were measured differently.

    What counts: every parameter of the attack but its seed, what was changed in it for the number
    of classes, the attack resolution, the loader's resize, class names, the number of samples,
    precision, and the meaning of "robust". What lies inside a classifier (its prompts, its logit
    scale, its own resize and normalisation) belongs to the model and may differ.

    Raises:
        RequestError: with the first difference.
    """
    here, there = _measured(a, row_a), _measured(b, row_b)
    for what, one, other in _differences(here, there):
        raise RequestError(
            f"{row_a.model} and {row_b.model} were measured differently on {row_a.dataset}: "
            f"{what} is {one} and {other}; evaluate both the same way"
        )


def same_protocol(a: Results, row_a: Row, b: Results, row_b: Row) -> bool:
    """Whether :func:`require_same_protocol` would let the two rows pass."""
    return not any(_differences(_measured(a, row_a), _measured(b, row_b)))


def attack_of(results: Results, row: Row) -> dict[str, Any]:
    """The attack behind ``row``, with all its parameters."""
    described = results.protocol.get("data", {}).get(row.dataset, {}).get("attacks")
    for attack in described or results.protocol["attacks"]:
        threat = attack["threat"]
        if attack["name"] == row.attack and (threat["norm"], threat["eps"]) == (row.norm, row.eps):
            return dict(attack)
    raise RequestError(
        f"the protocol of the results does not describe {row.attack} at {row.eps}, which has rows: "
        "results.json is damaged"
    )


def _measured(results: Results, row: Row) -> dict[str, Any]:
    data = results.protocol["data"][row.dataset]
    return {
        "attack": _without_seeds(attack_of(results, row)),
        "change for the number of classes": row.note,
        "attack resolution": row.resolution,
        "loader resize": data[f"under {row.model}"].get("loader_resize"),
        "class names": data["class_names"],
        "samples": row.n,
        "precision": results.protocol["precision"],
        "robust": results.protocol["robust"],
    }


def _without_seeds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seeds(part) for key, part in value.items() if key != "seed"}
    return [_without_seeds(part) for part in value] if isinstance(value, list) else value


def _differences(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _differences(a.get(key), b.get(key), f"{name}.{key}" if name else key)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _differences(one, other, f"{name}[{index}]")
    elif isinstance(a, list) and isinstance(b, list):
        yield f"the length of {name}", len(a), len(b)
    elif a != b:
        yield name, a, b
