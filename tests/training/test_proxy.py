"""A further model that a method reads: which it is, what it sees, and what is refused."""

import pytest
import torch

from zsrobust.models.loading import load
from zsrobust.objectives import HPT
from zsrobust.training.finetune import finetune
from zsrobust.training.step import TrainingStep
from zsrobust.utils.errors import RequestError


@pytest.mark.slow
def test_the_proxy_answers_for_the_adversarial_images(config, small_clip, monkeypatch):
    """Its logits are those of the model of that name, in the second step too."""
    seen, attack, loss = [], HPT.adversarial, HPT.loss

    def attacked(self, step):
        seen.append(attack(self, step))
        return seen[-1]

    def recorded(self, step):
        seen.append(step.proxy)
        return loss(self, step)

    monkeypatch.setattr(HPT, "adversarial", attacked)
    monkeypatch.setattr(HPT, "loss", recorded)
    run = finetune(config(method="hpt", objective=HPT(proxy=small_clip), steps=2))
    proxy = load(small_clip).classifier([f"class {label}" for label in range(4)]).eval()
    assert len(seen) == 4
    for images, logits in zip(seen[::2], seen[1::2], strict=True):
        with torch.no_grad():
            torch.testing.assert_close(logits, proxy(images), atol=1e-4, rtol=1e-4)
    assert load(str(run.folder)).method == f"hpt[proxy={small_clip}]"


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("glyph-clop", r"glyph-clop"),
        ("jpeg(glyph-clip)", r"has a test-time defence, which objective.proxy of hpt cannot take"),
    ],
)
def test_what_is_no_proxy_is_refused_before_any_data_is_read(config, proxy, message):
    settings = config(method="hpt", objective=HPT(proxy=proxy), data="imagefolder:nowhere")
    with pytest.raises(RequestError, match=message):
        finetune(settings)


def test_a_proxy_that_does_not_know_the_classes_is_refused(config):
    with pytest.raises(RequestError, match="glyph-clip cannot tell apart 4 of the 4 classes"):
        finetune(config(method="hpt", objective=HPT(proxy="glyph-clip")))


def test_another_proxy_ends_a_resumption(config, small_clip, monkeypatch):
    settings = config(method="hpt", objective=HPT(proxy=small_clip), steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", lambda *_, **__: pytest.fail("cut"))
        with pytest.raises(pytest.fail.Exception):
            finetune(settings)
    changed = load(small_clip)
    with torch.no_grad():
        changed.encoder.proj.mul_(2)
    real = finetune.__globals__["load"]
    calls = []

    def other(name, **options):
        calls.append(name)
        return changed if len(calls) == 2 else real(name, **options)

    monkeypatch.setitem(finetune.__globals__, "load", other)
    with pytest.raises(RequestError, match="are not those that"):
        finetune(settings)
