"""The HTML of the page: remarks, refusals, the table of predictions, and the threat model.

Text from visitors and names of models goes through templates that escape it.
"""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, StrictUndefined

from zsrobust.data.names.codes import typed_code_notes
from zsrobust.serve.comparison import Attacked, Comparison
from zsrobust.serve.picture import Picture
from zsrobust.serve.served import ServedModel

_ENVIRONMENT = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)

_HEADING = _ENVIRONMENT.from_string("<h2>{{ name }}</h2>")
_PARAGRAPHS = _ENVIRONMENT.from_string(
    '<div class="message {{ kind }}" role="{{ "alert" if kind == "error" else "status" }}">'
    "{% for line in lines %}<p>{{ line }}</p>{% endfor %}</div>"
)
_TABLE = _ENVIRONMENT.from_string(
    """<div class="box"><table><caption>Predictions of each model on each image</caption>
<thead><tr><th scope="col">image</th>{% for name in models %}<th scope="col">{{ name }}</th>
{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr><th scope="row">{{ row.image }}</th>
{% for cell in row.cells %}<td>{{ cell.text }}
{% if cell.mark %} <span class="mark">{{ cell.mark }}</span>{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<ul class="facts">{% for line in facts %}<li>{{ line }}</li>{% endfor %}</ul>"""
)


def heading(name: str) -> str:
    """A model's name above its column."""
    return _HEADING.render(name=name)


def paragraphs(*sentences: str, error: bool = False) -> str:
    """Sentences, a paragraph each; set apart where they are an error."""
    return _PARAGRAPHS.render(lines=sentences, kind="error" if error else "")


def remarks(picture: Picture, class_names: tuple[str, ...], models: Sequence[ServedModel]) -> str:
    """What should be known before a prediction is believed."""
    found = [*picture.notes, *_doubts(class_names, models)]
    return paragraphs(*found) if found else ""


def _doubts(class_names: tuple[str, ...], models: Sequence[ServedModel]) -> list[str]:
    """What the models do not read of the names as it is meant, and which of them reads all."""
    doubts = {one.name: one.doubts(class_names) for one in models}
    codes = [f"{note[:1].upper()}{note[1:]}." for note in typed_code_notes(class_names)]
    if not any(doubts.values()):
        return codes
    readers = [name for name, found in doubts.items() if not found]
    sentences = [*codes, *(f"{doubt}." for found in doubts.values() for doubt in found)]
    if readers and not codes:
        return [
            *sentences,
            f"Of the models here, {' and '.join(readers)} can read all of these names.",
        ]
    return [
        *sentences,
        "No model here can read all of these names: write others, such as an example's, or serve a "
        "model that knows them; zsrobust serve photo-lite knows everyday objects.",
    ]


def outcome(compared: Comparison, models: Sequence[ServedModel]) -> str:
    """What became of each model, in a sentence each, and what should be known before."""
    outcomes = [_outcome(one, compared) for one in compared.attacked]
    return paragraphs(*outcomes, *_doubts(compared.class_names, models))


def _outcome(one: Attacked, compared: Comparison) -> str:
    before, after, in_file = (
        compared.clean[one.on],
        one.predictions[one.on],
        one.predictions_8bit[one.on],
    )
    # Among equal names, the first is at the top whatever the image shows.
    for group in compared.indistinguishable.get(one.on, ()):
        if before.top in group or (compared.settings.target is not None and one.aim in group):
            return (
                f"Whether the attack fooled {one.on} cannot be decided: it does not distinguish "
                f"these names: {', '.join(group)}."
            )
    if compared.settings.target is None:
        fooled = after.top != before.top
        text = (
            f"{one.on} was fooled: {before.text} before, {after.text} under attack."
            if fooled
            else f"{one.on} was not fooled: {before.text} before, {after.text} under attack."
        )
    elif before.top == one.aim:
        return f"{one.on} predicted {one.aim} before the attack: choose another target."
    else:
        fooled = after.top == one.aim
        reached = "predicts" if fooled else "does not predict"
        text = f"{one.on} {reached} {one.aim} under attack: {before.text} before, {after.text}."
    if not fooled:
        return text
    if in_file.top == after.top:
        return f"{text} The attack survives rounding to 8 bits."
    return f"{text} Rounded to 8 bits, as in the file, the image is {in_file.text}."


def comparison(compared: Comparison) -> str:
    """The table of each model's prediction for each image, and the threat model."""
    names = list(compared.clean)
    rows = [
        {
            "image": "before the attack",
            "cells": [_cell(compared.merged(n, compared.clean[n]).text) for n in names],
        }
    ]
    for one in compared.attacked:
        for rounding, predictions in (("", one.predictions), (", 8 bits", one.predictions_8bit)):
            cells = [
                _cell(
                    compared.merged(n, predictions[n]).text,
                    "white box" if n == one.on else "transfer",
                )
                for n in names
            ]
            rows.append({"image": f"attacked on {one.on}{rounding}", "cells": cells})
    return _TABLE.render(models=names, rows=rows, facts=_facts(compared))


def _cell(text: str, mark: str = "") -> dict[str, str]:
    return {"text": text, "mark": mark}


def _facts(compared: Comparison) -> list[str]:
    settings = compared.settings
    aim = (
        "away from what the model says of the image"
        if settings.target is None
        else f"towards {compared.class_names[settings.target]}"
    )
    facts = [
        f"Threat model: L-inf, eps {settings.eps} of the pixel range, on pixels in [0, 1].",
        f"Attack: {settings.name}, {aim}; steps of {_levels(settings.step_size)}, one random start "
        "from a fixed seed. Stronger attacks find more.",
        "Each model is attacked with its own gradient (white box). The others see that image too "
        "(transfer). A change is shown magnified: black and white are eps.",
    ]
    for one in compared.attacked:
        side = one.clean.shape[-1]
        native = side == compared.picture.image.width == compared.picture.image.height
        size = "the image's own pixels" if native else f"resized from {_size(compared.picture)}"
        facts.append(
            f"Attacked on {one.on} at {side} x {side} ({size}); largest change "
            f"{_levels(one.distance)}, rounded to 8 bits {_levels(one.distance_8bit)}."
        )
    return facts


def _levels(distance: float) -> str:
    """A distance in [0, 1] to three digits."""
    return f"{distance * 255:.3g}/255"


def _size(picture: Picture) -> str:
    return " x ".join(map(str, picture.image.size))
