"""The page: its layout, and the handler of each button."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from zsrobust.serve import html
from zsrobust.serve.examples import Example
from zsrobust.serve.handlers import TOP, FormValues, Handlers, PageState

CSS = Path(__file__).with_name("page.css")

INTRODUCTION = """\
# ZSRobust

Drop in an image, write any class names, and see what each model predicts. Then attack: a small
change of the pixels is searched for that changes the prediction. The predictions before and after
are shown side by side.
"""


def theme() -> Any:
    """Gradio's plainest theme in the system's own fonts: no font is fetched from anywhere."""
    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        font=("Helvetica", "Arial", "sans-serif"),
        font_mono=("Menlo", "Consolas", "monospace"),
    )


def page(handlers: Handlers, examples: Sequence[Example], folder: Path) -> gr.Blocks:
    """The page over the handlers' models; pictures of the examples are written to ``folder``."""
    paths = [_saved(example, folder / f"example-{i}.png") for i, example in enumerate(examples)]
    # Gradio's telemetry would reach another machine.
    blocks = gr.Blocks(title="ZSRobust", analytics_enabled=False, delete_cache=(600, 3600))
    with blocks:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                form, buttons, shelf = _form(handlers, examples, paths)
            with gr.Column(scale=2, min_width=300):
                outputs = _results(handlers)
        _wire(blocks, handlers, form, buttons, outputs)
        if shelf is not None:

            def chosen(index: int) -> tuple[str, str]:
                return paths[index], "\n".join(examples[index].class_names)

            shelf.click(chosen, shelf, form[:2], api_visibility="private")
    return blocks


def _saved(example: Example, path: Path) -> str:
    example.image.save(path)
    return str(path)


def _form(
    handlers: Handlers, examples: Sequence[Example], paths: Sequence[str]
) -> tuple[list[Any], list[Any], Any]:
    """What a visitor fills in, the buttons, and the examples."""
    limits, first = handlers.limits, examples[0] if examples else None
    image = gr.Image(
        value=paths[0] if paths else None,
        label="Image",
        sources=["upload", "clipboard"],
        type="filepath",
        image_mode=None,
        format="png",
        height=260,
        elem_id="image",
    )
    shelf = None
    if examples:
        shelf = gr.Dataset(
            label="Examples",
            components=[gr.Image(type="filepath", visible=False)],
            samples=[[path] for path in paths],
            type="index",
            samples_per_page=len(paths),
            elem_id="examples",
        )
    names = gr.Textbox(
        value="\n".join(first.class_names) if first else "",
        label="Class names",
        info="One a line, or between commas.",
        lines=4,
        max_lines=8,
        elem_id="class-names",
    )
    predict = gr.Button("Predict", elem_id="predict")
    with gr.Row():
        eps = gr.Textbox(
            value="4/255",
            label="eps",
            info=f"How far each pixel may be changed, {limits.eps} at most.",
            min_width=130,
            elem_id="eps",
        )
        steps = gr.Slider(
            1, limits.steps, 20, step=1, label="Steps", min_width=130, elem_id="steps"
        )
    target = gr.Textbox(
        label="Target class",
        info="Empty: away from what the model says.",
        max_lines=1,
        elem_id="target",
    )
    with gr.Row():
        attack = gr.Button("Attack", variant="primary", min_width=120, elem_id="attack")
        cancel = gr.Button("Cancel", variant="stop", min_width=120, elem_id="cancel")
    return [image, names, eps, steps, target], [predict, attack, cancel], shelf


def _results(handlers: Handlers) -> list[Any]:
    """What is shown, in the order of ``_values``."""
    status = gr.HTML(elem_id="status", min_height=70)
    columns = []
    with gr.Row():
        for number, one in enumerate(handlers.models, start=1):
            with gr.Column(min_width=240, elem_id=f"model-{number}", elem_classes="model"):
                gr.HTML(html.heading(one.name))
                with gr.Row():
                    columns += [_label("Before the attack"), _label("Under attack")]
                with gr.Row():
                    columns += [_picture("Attacked image"), _picture("Change (grey: none)")]
    table = gr.HTML(elem_id="comparison")
    files = gr.File(
        label="Downloads",
        file_count="multiple",
        interactive=False,
        visible=False,
        elem_id="files",
    )
    return [status, *columns, table, files]


def _label(label: str) -> Any:
    return gr.Label(label=label, num_top_classes=TOP, min_width=200)


def _picture(label: str) -> Any:
    return gr.Image(
        label=label,
        type="filepath",
        format="png",
        interactive=False,
        height=220,
        min_width=140,
        buttons=[],
    )


def _values(shown: PageState, outputs: int) -> list[Any]:
    """One value an output."""
    if shown.columns is None:
        return [shown.status, *[gr.skip()] * (outputs - 1)]
    columns: list[Any] = []
    for one in shown.columns:
        columns += [one.before, one.after, _text(one.attacked), _text(one.change)]
    files = [str(path) for path in shown.files]
    downloads = gr.update(value=files or None, visible=bool(files))
    return [shown.status, *columns, shown.table, downloads]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _wire(
    blocks: gr.Blocks,
    handlers: Handlers,
    form: list[Any],
    buttons: list[Any],
    outputs: list[Any],
) -> None:
    """Connect the buttons; values come as they were sent, so that our own checks see them."""
    predict, attack, cancel = buttons
    status = outputs[0]

    def on_predict(*values: Any) -> list[Any]:
        return _values(handlers.predict(FormValues(*values)), len(outputs))

    def on_attack(
        request: gr.Request,
        image: Any,
        class_names: Any,
        eps: Any,
        steps: Any,
        target: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[list[Any]]:
        def show(done: int, total: int, sentence: str) -> None:
            progress((done, total), desc=sentence, unit="steps")

        values = FormValues(image, class_names, eps, steps, target)
        for shown in handlers.attack(values, str(request.session_hash), show):
            yield _values(shown, len(outputs))

    def on_cancel(request: gr.Request) -> str:
        handlers.cancel(str(request.session_hash))
        return html.paragraphs("Cancelled.")

    def on_leave(request: gr.Request) -> None:
        handlers.cancel(str(request.session_hash))

    private: dict[str, Any] = {"api_visibility": "private"}
    gr.on(
        [blocks.load, form[0].change, predict.click],
        on_predict,
        form[:2],
        outputs,
        preprocess=False,
        show_progress="hidden",
        # An image that comes while another is still predicted is not forgotten.
        trigger_mode="always_last",
        **private,
    )
    # One at a time: those who wait see their place in gradio's queue where the progress is shown.
    attacking = attack.click(
        on_attack,
        form,
        outputs,
        preprocess=False,
        concurrency_limit=1,
        show_progress_on=status,
        **private,
    )
    cancel.click(on_cancel, None, status, cancels=attacking, queue=False, **private)
    blocks.unload(on_leave)
