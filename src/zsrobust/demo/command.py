"""``zsrobust demo``: from the request to the page that is printed at the end."""

from __future__ import annotations

from pathlib import Path

from zsrobust.demo import own_photos
from zsrobust.demo.examples import photographs
from zsrobust.demo.gallery import attacked
from zsrobust.demo.page import Page, examples_page, page
from zsrobust.demo.plan import GLYPHS, PHOTOS, sized
from zsrobust.demo.request import EXAMPLES, DemoRequest, claim_folder
from zsrobust.demo.run import run_plan
from zsrobust.models.card import CARD, read_card
from zsrobust.models.loading import load
from zsrobust.reporting.figures.gallery import gallery_figure
from zsrobust.reporting.figures.style import save_figure
from zsrobust.utils.devices import torch_device
from zsrobust.utils.files import local_path

ROBUST = "photo-lite-robust"
"""Attacked next to its original; it ships with the package."""
YOURS = Path("runs") / "demo-photos" / "pmg_aft"
"""Where ``demo --photos DIR`` leaves its PMG-AFT model."""


def demo(request: DemoRequest) -> Page:
    """Do what was asked for.

    Raises:
        RequestError: before long work, if something asked for is wrong or missing.
        RunError: if a part fails.
        KeyboardInterrupt: on Ctrl-C; the same command resumes there.
    """
    if request.photos == EXAMPLES:
        return _examples(request)
    out, plan = request.folder, sized(GLYPHS, request.size)
    if request.photos is None:
        claim_folder(out, request.command)
    else:
        photos = local_path(request.photos)
        own_photos.checked(photos)
        claim_folder(out, request.command)
        plan = own_photos.planned(sized(PHOTOS, request.size), photos, out)
    shown = run_plan(plan, out, device=request.device, overwrite=request.overwrite)
    return page(plan, shown, request)


def _examples(request: DemoRequest) -> Page:
    """The photographs that come with other packages: nothing is trained."""
    images = photographs()
    device = torch_device(request.device)
    card = YOURS / "model" / CARD
    yours = [str(YOURS)] if card.is_file() and read_card(card).get("finished", True) else []
    models = {name: load(name, device=device) for name in (PHOTOS.model, ROBUST, *yours)}
    claim_folder(request.folder, request.command)
    gallery = attacked(
        [(images, index) for index in range(len(images))],
        models,
        PHOTOS.attack[0],
        PHOTOS.eps,
        "The photographs come with scikit-image and scikit-learn.",
    )
    gallery.write(request.folder / "gallery.npz")
    save_figure(gallery_figure(gallery), request.folder / "gallery")
    return examples_page(gallery, request)
