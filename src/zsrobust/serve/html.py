"""The HTML of the page: messages, the table of predictions, and the threat model.

Text from visitors and names of models goes through templates that escape it.
"""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined

from zsrobust.data.names.codes import typed_code_notes
from zsrobust.reporting.html.page import breakable
from zsrobust.serve.comparison import Attacked, Comparison
from zsrobust.serve.picture import Picture
from zsrobust.serve.served import ServedModel

ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
ENVIRONMENT.filters["breakable"] = breakable

_PARAGRAPHS = ENVIRONMENT.from_string(
    '<div class="message {{ kind }}" role="{{ "alert" if kind == "error" else "status" }}">'
    "{% for line in lines %}<p>{{ line | breakable }}</p>{% endfor %}"
    "{% if more %}<details><summary>Warnings about the class names</summary>"
    "{% for line in more %}<p>{{ line | breakable }}</p>{% endfor %}</details>{% endif %}</div>"
)
_TABLE = ENVIRONMENT.from_string(
    """<h2>Predictions for each image</h2>
<div class="box" tabindex="0" role="region" aria-label="Predictions for each image"><table>
<thead><tr><th scope="col">Image</th>{% for name in models %}
<th scope="col">{{ name | breakable }}</th>
{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr><th scope="row">{{ row.image | breakable }}</th>
{% for text, access in row.cells %}<td>{{ text }}
{% if access %} <span class="access">{{ access }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<ul class="facts">{% for line in facts %}<li>{{ line | breakable }}</li>{% endfor %}</ul>
<h2>Downloads</h2>"""
)


def paragraphs(*sentences: str, error: bool = False) -> str:
    """Sentences, a paragraph each; set apart where they are an error."""
    return _PARAGRAPHS.render(lines=sentences, kind="error" if error else "", more=())


def remarks(picture: Picture, class_names: tuple[str, ...], models: Sequence[ServedModel]) -> str:
    """Warnings about the image and the class names."""
    found = [*picture.notes, *_doubts(class_names, models)]
    return paragraphs(*found) if found else ""


def _doubts(class_names: tuple[str, ...], models: Sequence[ServedModel]) -> list[str]:
    """What the models cannot read of the names, and which of them can."""
    doubts = {one.name: one.doubts(class_names) for one in models}
    codes = [sentence(note[:1].upper() + note[1:]) for note in typed_code_notes(class_names)]
    if not any(doubts.values()):
        return codes
    readers = [name for name, found in doubts.items() if not found]
    sentences = [*codes, *(sentence(doubt) for found in doubts.values() for doubt in found)]
    if readers and not codes:
        return [*sentences, f"Of the models here, {' and '.join(readers)} can read all names."]
    return [*sentences, "No model here can read all names: choose others, or serve another model."]


def sentence(text: str) -> str:
    """``text`` with a full stop, where no mark ends it."""
    return text if text.endswith((".", "?")) else f"{text}."


def outcome(compared: Comparison, models: Sequence[ServedModel]) -> str:
    """Whether the attack on each model succeeded, and the warnings."""
    outcomes = [_outcome(one, compared) for one in compared.attacked]
    return _PARAGRAPHS.render(lines=outcomes, kind="", more=_doubts(compared.class_names, models))


def _outcome(one: Attacked, compared: Comparison) -> str:
    groups = compared.indistinguishable.get(one.model, ())
    before, after, rounded = (
        prediction.merged(groups)
        for prediction in (
            compared.clean[one.model],
            one.predictions[one.model],
            one.predictions_8bit[one.model],
        )
    )
    targeted = compared.settings.target is not None
    # Names that the model cannot tell apart have one probability: neither is the prediction.
    merged = [group for group in groups if targeted and one.label in group]
    if merged or before.top not in compared.class_names:
        names = ", ".join(merged[0]) if merged else before.top
        return f"Attack on {one.model}: success is undefined, since it cannot tell apart {names}."
    if targeted and before.top == one.label:
        return f"{one.model} predicts {one.label} for the clean image: choose another target."
    succeeded = after.top == one.label if targeted else after.top != before.top
    text = (
        f"Attack on {one.model} {'succeeded' if succeeded else 'failed'}: "
        f"{before.text} → {after.text}."
    )
    if not succeeded:
        return text
    if rounded.top == after.top:
        return f"{text} It also succeeds after rounding to 8 bits."
    return f"{text} After rounding to 8 bits, as in the PNG file: {rounded.text}."


def comparison(compared: Comparison) -> str:
    """The table of each model's prediction for each image, and the threat model."""
    names = list(compared.clean)
    clean = [(compared.merged(n, compared.clean[n]).text, "") for n in names]
    rows = [{"image": "Clean", "cells": clean}]
    for one in compared.attacked:
        for rounding, predictions in (("", one.predictions), (", 8 bits", one.predictions_8bit)):
            cells = [
                (
                    compared.merged(n, predictions[n]).text,
                    "white box" if n == one.model else "transfer",
                )
                for n in names
            ]
            rows.append({"image": f"Adversarial for {one.model}{rounding}", "cells": cells})
    return _TABLE.render(models=names, rows=rows, facts=_facts(compared))


def _facts(compared: Comparison) -> list[str]:
    settings = compared.settings
    aim = (
        "untargeted"
        if settings.target is None
        else f"target {compared.class_names[settings.target]}"
    )
    facts = [
        f"Threat model: L-inf, eps {settings.eps}, pixels in [0, 1].",
        f"Attack: {settings.name}, {aim}, step size {_levels(settings.step_size)}, one random "
        "start. A stronger attack may succeed where this one fails.",
        "White box: attacked with the model's own gradient. Transfer: the adversarial image of "
        "another model.",
        "Perturbations are magnified: grey is zero, black and white are -eps and +eps.",
    ]
    for one in compared.attacked:
        side = one.clean.shape[-1]
        native = side == compared.picture.image.width == compared.picture.image.height
        size = "as stored" if native else f"resized from {_size(compared.picture)}"
        facts.append(
            f"{one.model}: {side} x {side} pixels ({size}), L-inf distance "
            f"{_levels(one.distance)}, {_levels(one.distance_8bit)} after rounding to 8 bits."
        )
    return facts


def _levels(distance: float) -> str:
    """A distance in [0, 1] to three digits."""
    return f"{distance * 255:.3g}/255"


def _size(picture: Picture) -> str:
    return " x ".join(map(str, picture.image.size))
