"""The gallery: images before and after the attack, the change, and what each model says."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsrobust.evaluation.gallery import Gallery, Item, View
from zsrobust.reporting.figures.gallery import change, gallery_figure, magnification
from zsrobust.reporting.html.blocks import Block, Chart, Paragraph, Picture, Pictures, Section
from zsrobust.reporting.names import method_title

SMALL = 96
"""Pixels of a side up to which an image is stored exactly; larger ones are stored as JPEG."""
MOST = 4_000_000
"""Letters that the images of all galleries together may take in a page."""


def gallery_section(gallery: Gallery, title: str, name: str, *, most: int = MOST) -> Section:
    """A row of pictures a sample, as many as fit.

    Args:
        gallery: one sample or more.
        title: its heading.
        name: of the section, unique on the page.
        most: letters that its images may take.
    """
    factor = magnification(gallery)
    blocks: list[Block] = [
        Paragraph(
            f"Attack: {gallery.attack}, on each model separately. {gallery.chosen} Below an image "
            "is each model's prediction, with a tick where it is right. Perturbations are "
            f"multiplied by {factor}; grey is zero."
        )
    ]
    size = 0
    titles = sample_titles([(item, "") for item in gallery.items])
    for item, heading in zip(gallery.items, titles, strict=True):
        pictures = pictures_of(item, gallery, factor)
        size += sum(len(picture.source) for picture in pictures)
        if size > most:
            left_out = len(gallery.items) - (len(blocks) - 1)
            blocks.append(Paragraph(f"{left_out} samples are left out, to keep this page small."))
            break
        blocks.append(Pictures(heading, pictures))
    return Section(title, name, blocks)


def sample_titles(samples: Sequence[tuple[Item, str]]) -> list[str]:
    """Label, data set and model of each, with its id where that is another's, too.

    Args:
        samples: each with the name of the model; empty to leave it out.
    """
    short = [
        f"{item.label} ({item.dataset}){f', {model}' if model else ''}" for item, model in samples
    ]
    return [
        title if short.count(title) == 1 else f"{title}, sample {item.sample_id}"
        for title, (item, _) in zip(short, samples, strict=True)
    ]


def gallery_chart(gallery: Gallery, name: str) -> Chart:
    """The same as one figure, for the folder next to the page."""
    return Chart(name, "Gallery", "Images before and after the attack.", gallery_figure(gallery))


def pictures_of(item: Item, gallery: Gallery, factor: int) -> list[Picture]:
    """The clean image, then each adversarial one and its perturbation, times ``factor``."""
    pictures = []
    for view in item.views:
        against = method_title(gallery.methods[view.against]) if view.against else ""
        heading = f"attack on {against}" if against else "clean image"
        alt = f"{item.label} of {item.dataset}, {heading}"
        pictures.append(Picture(_address(view.pixels), alt, heading, _said(view, gallery)))
        if against:
            caption = f"perturbation ×\N{NO-BREAK SPACE}{factor}"
            alt = f"the perturbation of {item.label}, {heading}, times {factor}"
            pictures.append(Picture(_address(change(item.views[0], view, factor)), alt, caption))
    return pictures


def _said(view: View, gallery: Gallery) -> list[tuple[str, bool]]:
    return [
        (f"{method_title(method)}: {found.caption}", found.right)
        for model, method in gallery.methods.items()
        for found in [view.predictions[model]]
    ]


def _address(pixels: NDArray[np.float32]) -> str:
    """A ``data:`` address of an image (3, H, W) in [0, 1]."""
    levels = np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    image, file = Image.fromarray(levels), io.BytesIO()
    kind = "png" if max(image.size) <= SMALL else "jpeg"
    image.save(file, format=kind, **({"quality": 90} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
