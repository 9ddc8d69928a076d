"""``zsrobust export``: a model, in another library's format, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zsrobust._version import __version__
from zsrobust.config.run_folder import CONFIG
from zsrobust.export.card import (
    Card,
    card_text,
    preprocessing_warning,
    public_name,
    results_of,
    seen_sets,
    title,
)
from zsrobust.export.checks import largest_difference
from zsrobust.export.folder import CARD, require_free, write_mark
from zsrobust.export.formats import FORMATS
from zsrobust.export.request import ExportRequest
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.names import resuming_command
from zsrobust.models.weights import fingerprint
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_folder, local_path
from zsrobust.utils.validation import unknown


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        folder: where it lies.
        to: its format.
        title: what it is, in a line.
        files: their names, card and mark included.
        largest_difference: of any component of a unit embedding, between both libraries.
        warning: what must be changed where images are not prepared as CLIP's are, else empty.
        notes: what a user of the format must know besides.
        unfinished: how far the run was, if it has not finished; else empty.
    """

    folder: Path
    to: str
    title: str
    files: list[str]
    largest_difference: float
    warning: str
    notes: list[str]
    unfinished: str


def export(request: ExportRequest) -> Exported:
    """Write what was asked for, load it with the library it is for, and compare; then keep it.

    The folder appears whole or not at all.

    Raises:
        RequestError: if a name is wrong, the format cannot hold the model, or the folder is taken.
        RunError: if the written model does not compute the same.
    """
    if request.to not in FORMATS:
        raise RequestError(unknown("format", request.to, FORMATS))
    form, folder = FORMATS[request.to], request.folder
    require_free(folder, overwrite=request.overwrite)
    model = load(request.model)
    _require_finished(model, request)
    form.check(model, request)
    results = results_of(model, local_path(request.results)) if request.results else None
    warning = preprocessing_warning(model, form.pixels)
    try:
        with atomic_folder(folder) as unfinished:
            notes = form.write(model, unfinished, request)
            gap = largest_difference(model, form.load(unfinished, model))
            card = Card(model, form.library, form.how, notes, warning, results, gap)
            (unfinished / CARD).write_text(card_text(card), encoding="utf-8")
            write_mark(unfinished, _about(model, request, gap))
            files = sorted(file.name for file in unfinished.iterdir())
    except OSError as error:
        raise RequestError(f"out {folder} cannot be written: {error.strerror or error}") from None
    return Exported(folder, request.to, title(model), files, gap, warning, notes, model.unfinished)


def _require_finished(model: CLIPModel, request: ExportRequest) -> None:
    """Refuse what a run has so far, unless that is asked for."""
    if not model.unfinished or request.unfinished:
        return
    run = Path(model.name).parent
    going_on = f" ({resuming_command(run)})" if (run / CONFIG).is_file() else ""
    raise RequestError(
        f"{model.name} is of a fine-tuning at {model.unfinished}: let it finish{going_on}, or "
        "export what it has so far with --unfinished true"
    )


def _about(model: CLIPModel, request: ExportRequest, gap: float) -> dict[str, object]:
    """What the mark says of the model: nothing about this machine."""
    return {
        "format": request.to,
        "source": public_name(model.source),
        "method": model.method,
        "recipe": model.recipe,
        "weights": fingerprint(model.encoder),
        "text": model.text.fingerprint,
        "logit_scale": model.logit_scale,
        "templates": list(model.default_templates),
        "preprocessing": model.preprocessing.describe(),
        "loader_resize": model.loader_resize,
        "seen": seen_sets(model),
        "training": dict(model.record),
        "unfinished": model.unfinished,
        "largest_difference": gap,
        "package": __version__,
    }
