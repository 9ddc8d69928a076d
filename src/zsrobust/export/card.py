"""The card of an export: what it is, what it scores, what it must be shown, and how to load it.

``huggingface_hub.ModelCard`` fills ``card.md``. Its template knows no filter that escapes Markdown,
so every text from elsewhere is escaped before.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData

from zsrobust._version import __version__
from zsrobust.config.run_folder import CONFIG
from zsrobust.evaluation.results import Results
from zsrobust.models.clip import CLIPModel
from zsrobust.models.names import LOCAL_DIR, split_scheme
from zsrobust.models.weights import fingerprint
from zsrobust.models.zoo import ZOO, entry_of
from zsrobust.reporting.tables import accuracy_table
from zsrobust.training.record import settings_of
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import format_radius

MIT_NAME = "mit"
# What can start a construct within a line; < and & are HTML's. A backslash makes it literal.
_ACTIVE = re.compile(r"([\\`*_\[\]#|~$@])")


@dataclass(frozen=True)
class Card:
    """Everything a card says.

    Attributes:
        model: what was exported.
        library: the hub's word for the library that loads it; empty for none.
        how: how to load it, in Markdown.
        notes: what a user of the format must know besides.
        warning: of a preprocessing that is not CLIP's; empty where it is.
        results: rows of this model and its original; None where no evaluation was given.
        largest_difference: of unit embeddings, between both libraries.
    """

    model: CLIPModel
    library: str
    how: str
    notes: list[str]
    warning: str
    results: Results | None
    largest_difference: float


def public_name(name: str) -> str:
    """A model's name without the folders of this machine."""
    base, at, file = name.partition("@")
    scheme, place = split_scheme(base)
    if scheme == LOCAL_DIR or Path(place).is_absolute() or Path(place).is_dir():
        base = scheme + Path(place).name
    return base + at + Path(file).name


def seen_sets(model: CLIPModel) -> list[str]:
    """Names of the sets a model was trained on, without their places."""
    return sorted(name for name in model.seen if not {"/", "\\"} & set(name))


def preprocessing_warning(model: CLIPModel, theirs: str) -> str:
    """What a user must know where images are not prepared as CLIP's are; empty where they are.

    Args:
        model: what was exported.
        theirs: how images are prepared where it is used now, in a sentence.
    """
    found, settings = model.preprocessing.describe(), model.preprocessing.statistics
    parts = []
    if model.preprocessing.protocol != "clip":
        mean, std = (" ".join(f"{v:.4g}" for v in settings[key]) for key in ("mean", "std"))
        parts.append(
            f"it was trained and evaluated under {found['protocol']}: {found['resize']} to "
            f"{found['image_size']} pixels, mean {mean}, deviation {std}"
        )
    if model.loader_resize != "clip":
        parts.append(
            f"photographs were first brought to size by the loader's resize {model.loader_resize}"
            + (
                ", 256 pixels on the shorter side and then the middle"
                if model.loader_resize == "authors_code"
                else ""
            )
        )
    if not parts:
        return ""
    return f"NOT CLIP's preprocessing: {', and '.join(parts)}. {theirs}"


def training_settings(model: CLIPModel) -> dict[str, Any]:
    """How a model was trained: of its own record, else of its run folder; empty where unknown."""
    if settings := model.record.get("settings"):
        return dict(settings)
    folder = Path(model.name)
    try:
        content = yaml.safe_load((folder.parent / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    of_a_run = folder.name == "model" and isinstance(content, dict) and "method" in content
    return settings_of(content) if of_a_run else {}


def results_of(model: CLIPModel, run: Path) -> Results:
    """An evaluation's rows of this very model and of its original, named for a stranger.

    Raises:
        RequestError: if the results are missing or damaged, or hold no row of these weights under
            this preprocessing.
    """
    results = Results.read(run / "results.json")
    ours = {"weights": fingerprint(model.encoder), "preprocessing": model.preprocessing.describe()}
    labels: dict[str, str] = {}
    for name, settings in results.protocol["models"].items():
        if all(settings.get(key) == value for key, value in ours.items()):
            labels.setdefault(name, "this model")
        elif settings["method"] == "original" and settings["source"] == model.source:
            labels.setdefault(name, "original")
    if "this model" not in labels.values():
        raise RequestError(
            f"{run} holds no result of {model.name}, with these weights and this preprocessing: "
            "evaluate it first"
        )
    # Of the same weights under several names, one is shown.
    names = {label: name for name, label in reversed(labels.items())}
    shown = {name: label for label, name in names.items()}
    rows = [replace(row, model=shown[row.model]) for row in results.rows if row.model in shown]
    return Results(results.protocol, results.environment, rows)


def card_text(card: Card) -> str:
    """The card in Markdown, with the front matter that the hub reads."""
    model = card.model
    of_zoo = model.name.startswith(ZOO)
    licence = licence_of(model.name if of_zoo else model.source)
    about = ModelCardData(
        license=licence.spdx or "other",
        tags=["clip", "adversarial-robustness", "zero-shot-image-classification", "zsrobust"],
        pipeline_tag="zero-shot-image-classification",
        library_name=card.library or None,
        base_model=_hub_name(model.name if of_zoo else model.source) or None,
    )
    method, settings = escaped(model.method), training_settings(model)
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True) if settings else ""
    filled = ModelCard.from_template(
        about,
        template_path=str(Path(__file__).with_name("card.md")),
        version=__version__,
        source=escaped(public_name(model.source)),
        made="as it is" if model.method == "original" else f"fine-tuned: {method}",
        largest_difference=f"{card.largest_difference:.1g}",
        unfinished=escaped(model.unfinished),
        warning=escaped(card.warning),
        how=card.how.rstrip(),
        notes=[escaped(note) for note in card.notes],
        results=[part.rstrip() for part in (*_results(card), *_held_out(model.record))],
        method=method,
        run=list(_run_lines(model.record)),
        seen=escaped(", ".join(seen_sets(model)) or "not recorded"),
        weights=fingerprint(model.encoder),
        logit_scale=f"{model.logit_scale:.6g}",
        prompts=escaped("; ".join(model.default_templates)),
        preprocessing=[
            (key, escaped(str(value))) for key, value in model.preprocessing.describe().items()
        ],
        loader_resize=escaped(model.loader_resize),
        settings=fenced(text, "yaml") if text else "",
        licence=escaped(licence.text),
    )
    return f"{str(filled).rstrip()}\n"


def _results(card: Card) -> list[str]:
    if card.results is None:
        return ["No evaluation was given with the export."]
    table = accuracy_table(card.results)
    cells = [[[escaped(cell) for cell in row] for row in group] for group in table.groups]
    columns = [escaped(column) for column in table.columns]
    protocol = card.results.protocol
    attacks = [
        f"- {escaped(attack['name'])}: {escaped(_attack_words(attack))}"
        for attack in protocol["attacks"]
    ]
    return [
        replace(table, columns=columns, groups=cells, notes=[]).as_markdown(),
        *map(escaped, table.notes),
        f"Accuracy in per cent, with intervals over samples ({escaped(protocol['interval'])}). "
        f"Robust counts a sample that is {escaped(protocol['robust'])}. Attacks ran on pixels in "
        f"[0, 1], {escaped(protocol['precision'])}, seed {protocol['seed']}:",
        "\n".join(attacks),
    ]


def _held_out(record: Mapping[str, Any]) -> list[str]:
    """What the run measured to choose the step; what is not recorded is left out."""
    found = record.get("held_out")
    if not found:
        return []
    images = f"{found['n']:,} held-out images" if "n" in found else "held-out images"
    attack = f" under {escaped(str(found['attack']))}" if "attack" in found else ""
    lines = [
        f"On {images} of the training set, by which the step was chosen: clean "
        f"{100 * found['clean_acc']:.1f} %, robust {100 * found['robust_acc']:.1f} %{attack}."
    ]
    if warning := found.get("warning"):
        lines.append(f"> **Warning: {escaped(warning)}.**")
    return lines


def _attack_words(attack: dict[str, Any]) -> str:
    """Radius and parameters of an attack; those that are not used are left out."""
    threat = attack["threat"]
    parts = [f"{threat['norm']} {format_radius(threat['norm'], threat['eps'])}"]
    for key, value in attack.items():
        if key not in ("name", "threat", "parts") and value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            parts.append(f"{key.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def _run_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """How far the run got, and on what; what is not recorded is left out."""
    if "step" in record:
        of = f" of {record['total_steps']:,}" if "total_steps" in record else ""
        end = ""
        if "finished" in record:
            end = "; the run finished" if record["finished"] else "; the run has not finished"
        yield f"weights of optimizer step {record['step']:,}{of}{end}"
    if found := record.get("training_set"):
        name = escaped(f"{Path(str(found['name'])).name}/{found['split']}")
        yield f"training set: {name}, {found['n']:,} images"


def title(model: CLIPModel) -> str:
    """One line for terminals."""
    return one_line(f"{model.method} from {public_name(model.source)}")


@dataclass(frozen=True)
class Licence:
    """A licence.

    Attributes:
        spdx: the hub's word for it; empty where it is not known here.
        text: a sentence on it, or where to find it.
    """

    spdx: str
    text: str


def licence_of(source: str) -> Licence:
    """The licence of ``source``, a name that ``zsrobust.load`` takes."""
    if source in ("glyph-clip", "glyph-vit"):
        return Licence(MIT_NAME, f"{source}, like ZSRobust, is under the MIT licence.")
    if source.startswith(ZOO):
        entry = entry_of(source)
        return Licence("", f"That of {source}: {entry.licence}; see {entry.card}.")
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
    """Where the source's licence can be found."""
    if name := _hub_name(source):
        return f"https://huggingface.co/{name}"
    architecture, _, tag = source.rpartition("/")
    if architecture and ":" not in source and "@" not in source:
        import open_clip

        known = open_clip.get_pretrained_cfg(architecture.replace("/", "-"), tag)
        if known.get("hf_hub"):
            return f"https://huggingface.co/{known['hf_hub'].strip('/')}"
    return "where you have it from"


def _hub_name(source: str) -> str:
    """The repository of a source on the hub; empty where it has none in its name."""
    if source.startswith(ZOO):
        source = entry_of(source).load
    # Of BASE@hf-hub:ORG/NAME/FILE, the repository of the file.
    scheme, _, repository = source.rpartition("@")[2].partition(":")
    repository = "/".join(repository.split("/")[:2])
    on_hub = scheme in ("hf-hub", "transformers") and not Path(repository).is_absolute()
    return repository if on_hub else ""


def one_line(text: str) -> str:
    """``text`` without line breaks and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def escaped(text: str) -> str:
    """``text`` escaped, so that Markdown shows it literally."""
    return _ACTIVE.sub(r"\\\1", html.escape(one_line(text), quote=False))


def fenced(text: str, language: str) -> str:
    """``text`` as a block of code, whatever is in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
