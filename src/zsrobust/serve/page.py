"""The page: its layout, and the handler of each button."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from zsrobust.reporting.names import method_title
from zsrobust.serve.card import card
from zsrobust.serve.examples import Example
from zsrobust.serve.handlers import FormValues, Handlers, PageState

CSS = Path(__file__).with_name("page.css")
# Not for other programs; and what Gradio says of progress to screen readers lacks a translation:
# it would read "common.complete". Our own status says what happens.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

INTRODUCTION = """\
# ZSRobust

Zero-shot predictions for your image, before and after an adversarial attack, which changes each
pixel by at most eps.
"""
PHOTO_MODELS = """\
The models served here read drawings, not photographs. For photographs:
`pip install "zsrobust[photo]"`, then `zsrobust serve`; or `zsrobust serve ViT-B-32/openai`.
"""

# Buttons change in the browser, before the server answers.
_BUTTON = "const button = (interactive, value) => ({__type__: 'update', interactive, value});"
_SHOW_RESULTS = """() => {
  const top = name => document.querySelector(name).getBoundingClientRect().top;
  if (top("#model-1") < 0 || top("#model-1") + 300 > window.innerHeight) {
    // On a phone the buttons are above the results.
    const space = document.querySelector("#buttons").offsetHeight + 24;
    window.scrollBy({top: top("#results") - space, behavior: "smooth"});
  }
}"""
# Gradio describes them as "NAME icon", beside the name itself.
_UNDESCRIBED_ICONS = """() => {
  for (const icon of document.querySelectorAll("#examples img")) icon.alt = "";
}"""
_START = f"""() => {{
  {_BUTTON}
  return [button(false, "Predict"), button(false, "Attacking"), button(true, "Cancel")];
}}"""
_PREDICT = f"""() => {{ {_BUTTON} return button(false, "Predicting"); }}"""
_PREDICTED = f"""() => {{ {_BUTTON} return button(true, "Predict"); }}"""
_CANCEL = f"""() => {{ {_BUTTON} return button(false, "Cancelling"); }}"""
_READY = f"""() => {{
  {_BUTTON}
  return [button(true, "Predict"), button(true, "Attack"), button(false, "Cancel")];
}}"""


@dataclass(frozen=True)
class _Form:
    """What a visitor fills in, and the buttons.

    Attributes:
        inputs: in the order of ``FormValues``.
        examples: one button each.
    """

    inputs: list[Any]
    examples: list[Any]
    predict: Any
    attack: Any
    cancel: Any

    @property
    def buttons(self) -> list[Any]:
        return [self.predict, self.attack, self.cancel]


def theme() -> Any:
    """Gradio's plainest theme in the system's own fonts: no font is fetched from anywhere."""
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=("Helvetica", "Arial", "sans-serif"),
        font_mono=("Menlo", "Consolas", "monospace"),
    ).set(
        # Gradio's own have a contrast below 4.5:1.
        body_text_color_subdued="*neutral_600",
        input_placeholder_color="*neutral_600",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
    )


def page(handlers: Handlers, examples: Sequence[Example], folder: Path) -> gr.Blocks:
    """The page over the handlers' models; pictures of the examples are written to ``folder``."""
    paths = [_saved(example, folder / f"example-{i}.png") for i, example in enumerate(examples)]
    # Gradio's telemetry would reach another machine.
    blocks = gr.Blocks(title="ZSRobust", analytics_enabled=False, delete_cache=(600, 3600))
    with blocks:
        gr.Markdown(f"{INTRODUCTION}\n{_served(handlers)}")
        if not any(one.reads_photographs for one in handlers.models):
            gr.Markdown(PHOTO_MODELS, elem_id="photo-models")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                form = _form(handlers, examples, paths)
            with gr.Column(scale=2, min_width=300, elem_id="results"):
                outputs = _results(handlers)
        _wire(blocks, handlers, form, outputs)
        for button, path, example in zip(form.examples, paths, examples, strict=True):
            chosen = partial(_chosen, path, example)
            button.click(chosen, None, form.inputs[:2], queue=False, **QUIET)
    return blocks


def _served(handlers: Handlers) -> str:
    """The models, each with its method."""
    each = [f"`{one.name}` ({method_title(one.model.method)})" for one in handlers.models]
    return f"Models: {', '.join(each)}."


def _saved(example: Example, path: Path) -> str:
    example.image.save(path)
    return str(path)


def _chosen(path: str, example: Example) -> tuple[str, str]:
    return path, ", ".join(example.class_names)


def _form(handlers: Handlers, examples: Sequence[Example], paths: Sequence[str]) -> _Form:
    limits = handlers.limits
    path, names = _chosen(paths[0], examples[0]) if examples else (None, "")
    image = gr.Image(
        value=path,
        label="Image",
        sources=["upload", "clipboard"],
        type="filepath",
        image_mode=None,
        format="png",
        height=200,
        elem_id="image",
    )
    with gr.Row(elem_id="examples"):
        shelf = [
            gr.Button(example.shows, icon=path, size="sm")
            for example, path in zip(examples, paths, strict=True)
        ]
    for button in shelf:
        # Else Gradio deletes it with the files of visitors, an hour after the start.
        assert button.icon is not None
        button.keep_in_cache.add(button.icon["path"])
    class_names = gr.Textbox(
        value=names,
        label="Class names",
        info="One per line, or separated by commas",
        lines=2,
        max_lines=8,
        elem_id="class-names",
    )
    with gr.Row():
        eps = gr.Textbox(
            value="4/255",
            label="L-inf eps",
            info=f"At most {limits.eps}",
            min_width=110,
            elem_id="eps",
        )
        steps = gr.Number(
            value=20,
            label="PGD steps",
            info=f"At most {limits.steps}",
            precision=0,
            min_width=110,
            elem_id="steps",
        )
        target = gr.Textbox(
            label="Target class",
            info="Empty: untargeted",
            max_lines=1,
            min_width=110,
            elem_id="target",
        )
    with gr.Row(elem_id="buttons"):
        predict = gr.Button("Predict", size="md", elem_id="predict")
        attack = gr.Button("Attack", size="md", variant="primary", elem_id="attack")
        cancel = gr.Button("Cancel", size="md", interactive=False, elem_id="cancel")
    return _Form([image, class_names, eps, steps, target], shelf, predict, attack, cancel)


def _results(handlers: Handlers) -> list[Any]:
    """What is shown, in the order of ``_values``."""
    names = [one.name for one in handlers.models]
    status = _html("status")
    with gr.Row(elem_id="cards"):
        cards = [_html(f"model-{n}", card(name)) for n, name in enumerate(names, start=1)]
    table = _html("comparison")
    labels = [f"{what}, {name}" for name in names for what in ("Adversarial image", "Perturbation")]
    with gr.Row(elem_id="downloads"):
        files = [
            gr.DownloadButton(label, size="sm", visible=False)
            for label in [*labels, "Results (JSON)"]
        ]
    return [status, *cards, table, *files]


def _html(name: str, value: str = "") -> Any:
    return gr.HTML(value, apply_default_css=False, elem_id=name)


def _values(shown: PageState, models: int) -> list[Any]:
    """One value an output."""
    cards = [shown.cards.get(place, gr.skip()) for place in range(models)]
    table = gr.skip() if shown.table is None else shown.table
    return [shown.status, *cards, table, *_downloads(shown.files, 2 * models + 1)]


def _downloads(files: list[Path] | None, count: int) -> list[Any]:
    if files is None:
        return [gr.skip()] * count
    if not files:
        return [gr.update(visible=False)] * count
    return [gr.update(value=str(path), visible=True) for path in files]


def _wire(blocks: gr.Blocks, handlers: Handlers, form: _Form, outputs: list[Any]) -> None:
    """Connect the buttons; values come as they were sent, so that our own checks see them."""
    models = len(handlers.models)

    def on_predict(*values: Any) -> list[Any]:
        return _values(handlers.predict(FormValues(*values)), models)

    def on_attack(
        request: gr.Request, image: Any, class_names: Any, eps: Any, steps: Any, target: Any
    ) -> Iterator[list[Any]]:
        values = FormValues(image, class_names, eps, steps, target)
        for shown in handlers.attack(values, str(request.session_hash)):
            yield _values(shown, models)

    def on_cancel(request: gr.Request) -> None:
        handlers.cancel(str(request.session_hash))

    server: dict[str, Any] = {"preprocess": False, **QUIET}
    image = form.inputs[0]
    # A new image ends the attack on the one before it.
    image.change(on_cancel, None, None, queue=False, **QUIET)
    blocks.load(None, None, None, js=_UNDESCRIBED_ICONS, **QUIET)
    triggers = [blocks.load, image.change, form.predict.click]
    gr.on(triggers, None, None, form.predict, js=_PREDICT, **QUIET)
    # An image that comes while another is still predicted is not forgotten.
    gr.on(
        triggers, on_predict, form.inputs[:2], outputs, trigger_mode="always_last", **server
    ).then(None, None, form.buttons[:1], js=_PREDICTED, **QUIET)
    gr.on([form.predict.click, form.attack.click], None, None, None, js=_SHOW_RESULTS, **QUIET)
    form.attack.click(None, None, form.buttons, js=_START, **QUIET)
    # All may start: attacks wait in our own queue, which tells each how many are ahead.
    form.attack.click(on_attack, form.inputs, outputs, concurrency_limit=None, **server).then(
        None, None, form.buttons, js=_READY, **QUIET
    )
    form.cancel.click(None, None, form.cancel, js=_CANCEL, **QUIET)
    form.cancel.click(on_cancel, None, None, queue=False, **QUIET)
    blocks.unload(on_cancel)
