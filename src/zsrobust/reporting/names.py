"""What models and methods are called in tables, figures and pages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from zsrobust.evaluation.results import Results
from zsrobust.evaluation.starts import starts
from zsrobust.models.card import THEN
from zsrobust.models.names import split_scheme
from zsrobust.objectives import OBJECTIVES

FEW_TEMPLATES = 8
FROM = " from "
"""Between a method and the fine-tuned model that it began from."""
_PLAIN_PATH = re.compile(r"[^()@:]+")


def method_title(method: str) -> str:
    """A method's name in results, with its registered title: ``pmg_aft[paper]`` is PMG-AFT."""
    plain = method.replace("[paper]", "")
    names = "|".join(OBJECTIVES)
    return re.sub(rf"\b({names})\b", lambda found: OBJECTIVES[found[0]].title, plain)


def method_from(method: str, start: Mapping[str, str] | None) -> str:
    """A method's title, with its start for the methods before: ``TeCoA from photo-lite-robust``.

    Args:
        method: in results.
        start: name and method of the fine-tuned model that the run began from, if it did.
    """
    if not start or (before := f"{start['method']}{THEN}") not in method:
        return method_title(method)
    return f"{method_title(method.replace(before, ''))}{FROM}{start['name']}"


def templates_title(templates: Sequence[str]) -> str:
    """The templates themselves, or of an ensemble their number and the first."""
    if len(templates) > FEW_TEMPLATES:
        return f"an ensemble of {len(templates)} templates, the first of them: {templates[0]}"
    return "; ".join(templates)


def display_names(results: Results, models: Sequence[str]) -> dict[str, str]:
    """Each model's method, with the end of the model's name where several share the method.

    Originals that are several are called by their names alone, and so is a fine-tuned model from
    which another one here was fine-tuned.
    """
    methods = {row.model: row.method for row in results.rows}
    about = results.protocol.get("models", {})
    begun = set(starts(results).values())
    titles = {
        model: split_scheme(model)[1]
        if model in begun
        else method_from(methods[model], about.get(model, {}).get("start"))
        for model in models
    }
    shared = {title for title, count in Counter(titles.values()).items() if count > 1}
    names = {}
    for model, title in titles.items():
        if title not in shared:
            names[model] = title
        elif methods[model] == "original":
            names[model] = split_scheme(model)[1]
        else:
            others = [other for other in models if titles[other] == title]
            names[model] = f"{title} ({_ends(others)[model]})"
    return names


def _ends(models: Sequence[str]) -> dict[str, str]:
    """The last parts of each path, as many as tell all apart; other names whole."""
    if not all(_PLAIN_PATH.fullmatch(model) for model in models):
        return {model: model for model in models}
    parts = {model: PurePosixPath(model).parts for model in models}
    for count in range(1, max(map(len, parts.values()))):
        ends = {model: "/".join(of[-count:]) for model, of in parts.items()}
        if len(set(ends.values())) == len(models):
            return ends
    return {model: model for model in models}
