"""Preset ``authors_code``: the package's steps against a plain account of the authors' procedure.

The account below follows the description of the procedure: raw cosines for logits (their scaled
text features are normalised once more), PGD with a uniform random start on the mean cross-entropy,
three separate forward passes, KL terms summed over the batch, SGD with momentum, a linear warm-up
and a cosine. It shares with the package only the model's weights, the order of the images and the
random starts.
"""

import copy
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from zsrobust.config.schema import Optimizer, TrainingAttack
from zsrobust.data.registry import open_set
from zsrobust.data.sampler import epoch_batches
from zsrobust.data.split import hold_out as split
from zsrobust.models.loading import load
from zsrobust.objectives import PMGAFT
from zsrobust.training.finetune import finetune
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.units import Eps

EPS, WARMUP, STEPS = 3 / 255, 2, 4
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def embed(encoder, images):
    resized = F.interpolate(images, (32, 32), mode="bicubic", align_corners=False)
    return F.normalize(encoder((resized - MEAN) / STD), dim=-1)


def load_image(path, side):
    image = Image.open(path).convert("RGB")
    scale = round(side * 256 / 224) / min(image.size)
    size = [
        round(scale * length - 1e-9) if length == min(image.size) else int(scale * length)
        for length in image.size
    ]
    image = image.resize(size, Image.BILINEAR)
    left, top = (round((length - side) / 2) for length in image.size)
    cropped = image.crop((left, top, left + side, top + side))
    return torch.from_numpy(np.array(cropped)).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize(
    ("hold_out", "drop_last", "batch_size", "lr"),
    # Of all 56 images, as the script trains, every third step is on the last 8.
    [(0.2, True, 8, 0.03), (0, False, 24, 0.06)],
)
def test_equal_to_the_procedure_written_out(
    config, photos, weights, tmp_path, hold_out, drop_last, batch_size, lr
):
    settings = config(
        preprocessing="authors_code",
        loader_resize="authors_code",
        objective=PMGAFT(preset="authors_code"),
        attack=TrainingAttack(eps=Eps(EPS), steps=2, step_size=Eps(EPS)),
        optimizer=Optimizer(lr=lr, momentum=0.9, warmup_steps=WARMUP),
        steps=STEPS,
        hold_out=hold_out,
        drop_last=drop_last,
        batch_size=batch_size,
    )
    model = load(settings.model)
    prompts = [f"This is a photo of a class {label}" for label in range(4)]
    text = F.normalize(model.text.encode(prompts, ["{}"]), dim=-1)
    original = copy.deepcopy(model.encoder)
    student = model.encoder
    train_set, _ = split(open_set(photos, "train"), settings.hold_out, settings.seed)

    velocity = [torch.zeros_like(parameter) for parameter in student.parameters()]
    order = epoch_batches(train_set.sample_ids, len(train_set), settings.seed, 0)[0]
    batches = [(0, order[at : at + batch_size]) for at in range(0, len(order), batch_size)]
    if not drop_last:
        assert [len(batch) for _, batch in batches] == [24, 24, 8]
        order = epoch_batches(train_set.sample_ids, len(train_set), settings.seed, 1)[0]
        batches.append((1, order[:batch_size]))
    assert len(batches) >= STEPS
    for step, (epoch, batch) in enumerate(batches[:STEPS]):
        ids = [train_set.sample_ids[index] for index in batch]
        labels = torch.tensor([int(name.split("/")[0].split("_")[1]) for name in ids])
        x = torch.stack([load_image(tmp_path / "photos" / name, 32) for name in ids])

        noise = uniform_noise(x, ids, seed=settings.seed, purpose="pgd", epoch=epoch)
        delta = EPS * noise
        delta = (x + delta).clamp(0, 1) - x
        for _ in range(2):
            delta = delta.detach().requires_grad_(True)
            F.cross_entropy(embed(student, x + delta) @ text.T, labels).backward()
            delta = (delta + EPS * delta.grad.sign()).clamp(-EPS, EPS)
            delta = (x + delta).clamp(0, 1) - x
        adversarial = (x + delta).detach()

        for parameter in student.parameters():
            parameter.grad = None
        out_adv = embed(student, adversarial) @ text.T
        out_clean = embed(student, x) @ text.T
        out_orig = embed(original, adversarial) @ text.T
        loss = F.cross_entropy(out_adv, labels)
        log_adv = F.log_softmax(out_adv, -1)
        loss = loss + F.kl_div(log_adv, F.softmax(out_orig, -1), reduction="sum")
        loss = loss + F.kl_div(log_adv, F.softmax(out_clean, -1), reduction="sum")
        loss.backward()

        if step < WARMUP:
            rate = lr * (step + 1) / WARMUP
        else:
            rate = lr * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))
        with torch.no_grad():
            for parameter, moving in zip(student.parameters(), velocity, strict=True):
                moving.mul_(0.9).add_(parameter.grad)
                parameter.sub_(rate * moving)

    run = finetune(settings)
    moved = 0.0
    found = weights(run.folder)
    for name, expected in student.state_dict().items():
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=0)
        moved = max(moved, float((expected - original.state_dict()[name]).abs().max()))
    assert moved > 1e-3, "the steps must be far larger than the tolerance"
