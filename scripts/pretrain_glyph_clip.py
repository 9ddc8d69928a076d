"""Pre-train glyph-clip with a contrastive loss on synthetic images with captions.

    python scripts/pretrain_glyph_clip.py --out runs/glyph_clip --samples 3000000

Every image is new and has two captions: one names its object, one describes it. The loss is InfoNCE
as in CLIP (Radford et al. 2021) without false negatives: an image's negatives are the captions of
the batch that do not apply to it, and a caption's negatives the images that it does not apply to.
The learning rate is warmed up, constant, and decays over the last fifth. Weights are averaged. The
same command resumes an interrupted run. ``log.jsonl`` holds losses and zero-shot accuracies, and
``--export`` writes the files that are part of the package.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from zsrobust.data.glyphs import fonts
from zsrobust.data.glyphs.captions import (
    NUMBERS,
    OPENINGS,
    POSITIONS,
    Captions,
    describe,
    facts_of,
    name_things,
)
from zsrobust.data.glyphs.concepts import concepts
from zsrobust.data.glyphs.draws import stream, uniform
from zsrobust.data.glyphs.palette import COLOURS, PAPERS, SEEN_STYLES
from zsrobust.data.glyphs.render import render
from zsrobust.data.glyphs.scenes import Recipe, draw_scenes
from zsrobust.data.glyphs.sets import SETS, images_at, shown_in_pretraining
from zsrobust.models.clip import CLIPModel
from zsrobust.models.glyph_clip import (
    CONFIG,
    Tokenizer,
    Vocabulary,
    assemble,
    build,
    clip_tokenizer,
)
from zsrobust.models.preprocessing import Preprocessing

STREAM = stream("glyphs", "pretraining")
RECIPE = Recipe(
    concepts=tuple(range(len(concepts()))),
    fonts=fonts.SEEN,
    styles=SEEN_STYLES,
    small=0.25,
    most=len(NUMBERS),
    allowed=shown_in_pretraining,
)
LATER_FROM = 1_172_992
"""From this sample on more objects are small, and captions mention backgrounds and positions more
often, because the model has learned objects and colours by then, but not what is rarely mentioned.
"""

LATER_RECIPE = replace(RECIPE, small=0.4)
LATER_STRESS = ("paper", "position")
WORD_DROPOUT = 0.02
LARGEST_SCALE = 100.0


def caption_vocabulary() -> Vocabulary:
    """Every token that can occur in a caption."""
    words = [
        *OPENINGS,
        *(concept.name for concept in concepts()),
        *(concept.kind for concept in concepts()),
        *COLOURS,
        *PAPERS,
        *NUMBERS,
        *POSITIONS,
        "a the on background times thing things in",
    ]
    ids = {token for text in words for token in clip_tokenizer().encode(text)}
    return Vocabulary(tuple(sorted(ids)))


def batch_at(step: int, size: int) -> tuple[Tensor, np.ndarray, Captions, Captions]:
    """Images (N, 3, H, W) in [0, 1], their facts (N, 7) and two captions for each."""
    indices = np.arange(step * size, (step + 1) * size)
    later = int(indices[0]) >= LATER_FROM
    scenes = draw_scenes(LATER_RECIPE if later else RECIPE, STREAM, indices)
    pixels = render(scenes, RECIPE.fonts, indices)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
    draws = uniform(stream("glyphs", "captions"), indices, 16)
    facts = facts_of(scenes)
    return (
        images,
        facts,
        name_things(facts, draws[:, :8]),
        describe(facts, draws[:, 8:], LATER_STRESS if later else ()),
    )


def contrastive_loss(
    images: Tensor, texts: Tensor, own: Tensor, true: Tensor, scale: Tensor
) -> Tensor:
    """InfoNCE in both directions over unique captions.

    Args:
        images: (N, D), unit vectors.
        texts: (U, D), unit vectors, each caption once.
        own: (N, K), indices of the captions of each image.
        true: (N, U), whether each caption applies to each image.
        scale: factor of the cosine similarities.
    """
    logits = scale * images @ texts.T
    false = logits.masked_fill(true, -torch.inf)
    rows = torch.arange(len(images))[:, None].expand_as(own)
    positive = logits[rows, own]
    to_text = torch.logaddexp(positive, false.logsumexp(1)[:, None].expand_as(positive))
    to_image = torch.logaddexp(positive, false.logsumexp(0)[own])
    return (to_text + to_image - 2 * positive).mean() / 2


def learning_rate(
    step: int, steps: int, peak: float, warmup: int = 300, decay: float = 0.2
) -> float:
    """Linear warm-up over ``warmup`` steps, constant, linear decay to 0 over the last ``decay``."""
    fall = steps * decay
    return peak * min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / fall))


@torch.no_grad()
def zero_shot(loaded: CLIPModel, n: int) -> dict[str, float]:
    """Accuracy on ``n`` test images of each set, and their average over the zero-shot sets."""
    accuracy = {}
    for name, make in SETS.items():
        made = make()
        classes = len(made.class_names)
        vectors = loaded.text.encode(made.class_names, made.templates)
        pixels = torch.from_numpy(images_at(name, "test", np.arange(n)))
        images = loaded.preprocessing(pixels.permute(0, 3, 1, 2).float() / 255)
        found = (loaded.encoder(images) @ vectors.T).argmax(1)
        accuracy[name] = (found == torch.arange(n) % classes).float().mean().item()
    suite = [value for name, value in accuracy.items() if name != "training"]
    return {"average": sum(suite) / len(suite), **accuracy}


def main() -> None:
    """Train, or export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=3_000_000)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--export", type=Path, help="write weights and vocabulary here instead")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(options.seed)
    vocabulary = caption_vocabulary()
    tokenizer = Tokenizer(vocabulary)
    model = build(vocabulary).to(memory_format=torch.channels_last)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    state_file, weights_file = options.out / "state.pt", options.out / "average.safetensors"
    if options.export:
        options.export.mkdir(parents=True, exist_ok=True)
        weights = {
            name: value.half() if value.is_floating_point() else value
            for name, value in load_file(weights_file).items()
        }
        save_file(weights, options.export / "glyph_clip.safetensors")
        (options.export / "vocabulary.json").write_text(json.dumps(vocabulary.token_ids), "utf-8")
        return

    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=options.lr,
        betas=(0.9, 0.98),
    )
    step = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, step = state["average"], state["step"]

    preprocessing = Preprocessing("clip", CONFIG["vision_cfg"]["image_size"])
    dropping = torch.Generator()
    known: dict[str, Tensor] = {}
    steps = options.samples // options.batch_size
    began, begun_at, recent = time.time(), step, []
    saved = time.time()
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, options.lr)
        images, facts, named, described = batch_at(step, options.batch_size)
        texts = list(dict.fromkeys(named.texts + described.texts))
        place = {text: number for number, text in enumerate(texts)}
        own = torch.tensor(
            [[place[a], place[b]] for a, b in zip(named.texts, described.texts, strict=True)]
        )
        claims = np.zeros((len(texts), facts.shape[1]), dtype=np.int64)
        for captions in (named, described):
            claims[[place[text] for text in captions.texts]] = captions.claims
        true = torch.from_numpy(Captions(texts, claims).true_of(facts))
        if len(known) > 100_000:
            known.clear()
        for text in texts:
            if text not in known:
                known[text] = tokenizer([text])[0]
        tokens = torch.stack([known[text] for text in texts])
        dropping.manual_seed(options.seed * 1_000_003 + step)
        dropped = torch.rand(tokens.shape, generator=dropping) < WORD_DROPOUT
        words = (tokens > 0) & (tokens < vocabulary.unknown)
        tokens = torch.where(dropped & words, vocabulary.unknown, tokens)

        with torch.autocast("cpu", dtype=torch.bfloat16):
            pixels = preprocessing(images).contiguous(memory_format=torch.channels_last)
            image_features = model.visual(pixels)
            text_features = model.encode_text(tokens)
        loss = contrastive_loss(
            F.normalize(image_features.float(), dim=-1),
            F.normalize(text_features.float(), dim=-1),
            own,
            true,
            model.logit_scale.exp(),
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(LARGEST_SCALE))
            keep = min(0.999, (1 + step) / (10 + step))
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - keep)
                else:
                    average[name].copy_(value)
        step += 1
        recent.append(loss.item())

        if step % 200 == 0 or step == steps:
            line = {
                "step": step,
                "samples": step * options.batch_size,
                "loss": round(sum(recent) / len(recent), 4),
                "scale": round(model.logit_scale.exp().item(), 1),
                "lr": optimizer.param_groups[0]["lr"],
                "samples_per_second": round(
                    (step - begun_at) * options.batch_size / (time.time() - began)
                ),
            }
            recent = []
            if step % 2000 == 0 or step == steps:
                current = {name: value.clone() for name, value in model.state_dict().items()}
                model.load_state_dict(average)
                line["zero_shot"] = {
                    name: round(value, 3)
                    for name, value in zero_shot(
                        assemble(deepcopy(model).eval(), tokenizer), 200
                    ).items()
                }
                model.load_state_dict(current)
            with (options.out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
        if time.time() - saved > 120 or step == steps:
            saved = time.time()
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "average": average,
                    "step": step,
                },
                state_file.with_suffix(".new"),
            )
            state_file.with_suffix(".new").replace(state_file)
            save_file({name: value.contiguous() for name, value in average.items()}, weights_file)


if __name__ == "__main__":
    main()
