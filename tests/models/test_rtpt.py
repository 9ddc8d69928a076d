"""R-TPT against its formulas written out in float64, on a text tower of open_clip."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.rtpt import Rtpt, _Prompts
from zsrobust.models.loading import load
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError

NAMES = ("red cat", "dog", "old lamp")
TEMPLATES = ("a photo of a {}.", "{}", "the {}")
BEFORE = (4, 0, 1)
"""Tokens before the name."""


@pytest.fixture(scope="module")
def text():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(
            12,
            {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
            {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
        ).eval()
    with torch.no_grad():  # So that vectors of different prompts lie apart.
        model.token_embedding.weight.mul_(50)
        model.text_projection.mul_(5)
    return OpenCLIPText(model, open_clip.SimpleTokenizer(context_length=12), "tiny")


@pytest.fixture(scope="module")
def classifier(text):
    vectors = text.encode(NAMES, TEMPLATES)
    return ZeroShotClassifier.from_parts(
        nn.Identity(), vectors, NAMES, templates=TEMPLATES, logit_scale=8
    )


def unit_embeddings(views, images=3):
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(1, images, 12, generator=generator)
    return F.normalize(common + torch.randn(views, images, 12, generator=generator), dim=-1)


def through_the_tower(model, tokens, vectors):
    """The tower written out: one prompt of token ids (L,) and vectors (L, width), in float64."""
    state = (vectors + model.positional_embedding)[None]
    state = model.transformer(state, attn_mask=model.attn_mask)
    state = model.ln_final(state)[0, tokens.argmax()]
    return F.normalize(state @ model.text_projection, dim=-1)


def written_out(text, units, defence):
    """Logits (C,) of one image from its views' unit embeddings (V, dim)."""
    model = deepcopy(text.model).double()
    tokens = {(n, t): text.tokenize([t.replace("{}", n)])[0] for n in NAMES for t in TEMPLATES}
    own = {pair: model.token_embedding(ids).detach() for pair, ids in tokens.items()}
    contexts = [own[NAMES[0], t][1 : 1 + k].clone() for t, k in zip(TEMPLATES, BEFORE, strict=True)]

    def classes(contexts):
        found = []
        for name in NAMES:
            vectors = []
            for template, context in zip(TEMPLATES, contexts, strict=True):
                mixed = own[name, template].clone()
                mixed = torch.cat([mixed[:1], context, mixed[1 + len(context) :]])
                vectors.append(through_the_tower(model, tokens[name, template], mixed))
            found.append(F.normalize(torch.stack(vectors).mean(0), dim=-1))
        return torch.stack(found)

    def entropies(classes, views):
        chances = (8 * views @ classes.T).softmax(-1)
        return -(chances * chances.log()).sum(-1)

    order = entropies(classes(contexts), units).argsort()
    clear = units[order[: max(1, int(len(units) * defence.kept))]]
    first, second = ([torch.zeros_like(one) for one in contexts] for _ in range(2))
    for step in range(1, defence.steps + 1):
        given = [one.detach().requires_grad_(True) for one in contexts]
        loss = entropies(classes(given), clear).mean()
        gradients = torch.autograd.grad(loss, given, allow_unused=True)
        for index, (one, gradient) in enumerate(zip(given, gradients, strict=True)):
            gradient = torch.zeros_like(one) if gradient is None else gradient
            first[index] = 0.9 * first[index] + 0.1 * gradient
            second[index] = 0.999 * second[index] + 0.001 * gradient**2
            m, v = first[index] / (1 - 0.9**step), second[index] / (1 - 0.999**step)
            decayed = one.detach() * (1 - defence.rate * 0.01)
            contexts[index] = decayed - defence.rate * m / (v.sqrt() + 1e-8)
    cosines = (units @ units.T).numpy()
    np.fill_diagonal(cosines, -np.inf)
    near = np.sort(cosines, axis=1)[:, -defence.neighbours :].mean(1) / defence.temperature
    weights = np.exp(near - near.max())
    weights /= weights.sum()
    each = (8 * units @ classes(contexts).detach().T).numpy()
    return weights @ each


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_equal_to_the_method_written_out(steps, text, classifier):
    defence = Rtpt(crops=11, neighbours=4, kept=0.3, steps=steps, rate=0.05, temperature=0.05)
    units = unit_embeddings(12)
    prompts = _Prompts(text, NAMES, TEMPLATES)
    assert prompts.tuned.sum(1).tolist() == list(BEFORE)
    classes = defence.tuned(units, prompts, classifier)
    found = 8 * torch.einsum("nd,ncd->nc", defence.weighted(units), classes)
    expected = [written_out(text, units[:, row].double(), defence) for row in range(3)]
    torch.testing.assert_close(
        found.double(), torch.from_numpy(np.stack(expected)), atol=1e-4, rtol=0
    )
    untuned = classes.allclose(classifier.class_embeddings, atol=1e-5)
    assert untuned == (steps == 0)


def test_tuning_lowers_the_entropy_of_every_images_clear_views(text, classifier):
    defence = Rtpt(crops=11, neighbours=4, kept=0.3, steps=3, rate=0.01)
    units = unit_embeddings(12)
    classes = defence.tuned(units, _Prompts(text, NAMES, TEMPLATES), classifier)
    before, after = (
        -(chances * chances.log()).sum(-1).sort(dim=0).values[:3].mean(0)
        for chances in (
            (8 * units @ classifier.class_embeddings.T).softmax(-1),
            (8 * torch.einsum("vnd,ncd->vnc", units, classes)).softmax(-1),
        )
    )
    assert (after < before).all()


def test_the_gradient_of_the_weighted_mean_is_exact():
    units = unit_embeddings(6).double().requires_grad_(True)
    defence = Rtpt(crops=5, neighbours=2, temperature=0.5)
    assert torch.autograd.gradcheck(defence.weighted, units, fast_mode=True)


def test_a_gradient_reaches_the_image_and_no_weight(tiny):
    model = load(f"rtpt({tiny}, crops=3, neighbours=2)")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    images.requires_grad_(True)
    model.classifier(["cat", "dog"])(images)[:, 0].sum().backward()
    assert (images.grad.flatten(1).norm(dim=1) > 0).all()
    tower = model.text.model
    assert all(parameter.grad is None for parameter in tower.parameters())
    assert not tower.token_embedding._forward_hooks


def test_a_text_side_or_prompts_with_nothing_to_tune_are_refused(tiny):
    model = load(f"rtpt({tiny})")
    with pytest.raises(RequestError, match="words before the class name, and there are none in"):
        model.classifier(["cat", "dog"], ["{}", "{} in the rain"])
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    mine = CLIPModel.from_encoder("mine", encoder, lambda prompts: torch.ones(1, 4), image_size=8)
    with pytest.raises(RequestError, match="the text side of mine has no token vectors to tune"):
        Rtpt().bound(mine, load)
    borrowed = SimpleNamespace(name="borrowed", text=model.text.__class__.__new__(OpenCLIPText))
    borrowed.text.model = SimpleNamespace(text=nn.Identity())
    with pytest.raises(RequestError, match="has no token vectors"):
        Rtpt().bound(borrowed, load)
