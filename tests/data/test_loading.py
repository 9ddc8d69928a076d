import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from zsrobust.data.image_folder import image_folder
from zsrobust.data.loading import LOADER_RESIZES, attack_resolution, load_batches
from zsrobust.utils.errors import RequestError, RunError

SIZES = [(100, 60), (61, 99), (64, 64), (224, 224), (225, 500), (7, 5), (33, 32), (224, 301)]


def noise(size: tuple[int, int]) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resolution", [32, 33, 64, 224])
def test_resizes_equal_torchvisions_transforms(size: tuple[int, int], resolution: int) -> None:
    crop = transforms.CenterCrop(resolution)
    wider = round(resolution * 256 / 224)
    theirs = {
        "clip": transforms.Resize(resolution, InterpolationMode.BICUBIC),
        "bilinear": transforms.Resize(resolution, InterpolationMode.BILINEAR),
        "squash": transforms.Resize((resolution, resolution), InterpolationMode.BICUBIC),
        "bilinear_squash": transforms.Resize((resolution, resolution), InterpolationMode.BILINEAR),
        "authors_code": transforms.Resize(wider, InterpolationMode.BILINEAR),
    }
    image = noise(size)
    assert theirs.keys() == LOADER_RESIZES.keys()
    for name, resize in theirs.items():
        ours = LOADER_RESIZES[name](image, resolution)
        assert ours.size == (resolution, resolution)
        assert ours.tobytes() == crop(resize(image)).tobytes()


def test_authors_code_is_256_then_224() -> None:
    image = noise((300, 280))
    pixels = image.resize((274, 256), Image.Resampling.BILINEAR).crop((25, 16, 249, 240))
    assert LOADER_RESIZES["authors_code"](image, 224).tobytes() == pixels.tobytes()


def test_clip_leaves_an_image_of_the_right_size_alone() -> None:
    image = noise((48, 48))
    assert LOADER_RESIZES["clip"](image, 48).tobytes() == image.tobytes()


def test_attack_resolution_asked_for_then_native_then_the_models(memory_set) -> None:
    plain = memory_set([0])
    native = dataclasses.replace(plain, native_size=32)
    assert attack_resolution(plain, 224) == 224
    assert attack_resolution(native, 224) == 32
    assert attack_resolution(dataclasses.replace(native, resolution=96), 224) == 96


@pytest.mark.parametrize("resize", ["clip", "authors_code"])
def test_native_pixels_are_used_untouched(memory_set, resize: str) -> None:
    native = dataclasses.replace(
        memory_set([0, 1]), native_size=8, read_image=lambda _: noise((8, 8))
    )
    (batch,) = load_batches(native, [[1, 0]], resize=resize, resolution=8)
    expected = torch.tensor(np.array(noise((8, 8)))).permute(2, 0, 1) / 255
    assert torch.equal(batch.images[0], expected)
    (larger,) = load_batches(native, [[0]], resize=resize, resolution=16)
    assert larger.images.shape == (1, 3, 16, 16)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_what_was_asked_in_order(memory_set, workers: int) -> None:
    lists = [[5, 1, 3], [0], [2, 4]]
    batches = list(
        load_batches(
            memory_set([0, 1, 2, 0, 1, 2]), lists, resize="clip", resolution=8, workers=workers
        )
    )
    assert [batch.sample_ids for batch in batches] == [
        [f"sample-{index}" for index in indices] for indices in lists
    ]
    for batch, indices in zip(batches, lists, strict=True):
        assert batch.images.dtype == torch.float32
        assert batch.images.shape == (len(indices), 3, 8, 8)
        assert batch.images.is_contiguous()
        assert batch.labels.tolist() == [index % 3 for index in indices]
        assert batch.labels.dtype == torch.int64
        levels = torch.tensor(indices).view(-1, 1, 1, 1) / 255
        assert torch.equal(batch.images, levels.expand_as(batch.images))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_fails_in_one_sentence(folder_root: Path, workers: int) -> None:
    files = image_folder(folder_root)
    (folder_root / "dog/c.jpeg").write_bytes(b"")
    batches = load_batches(files, [[1], [2, 0]], resize="clip", resolution=8, workers=workers)
    assert len(next(batches)) == 1
    with pytest.raises(RunError) as caught:
        next(batches)
    path = str(folder_root / "dog/c.jpeg")
    assert str(caught.value) == f"cannot read image {path}: not an image that Pillow knows"


def test_the_global_generator_is_left_alone(memory_set) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    list(load_batches(memory_set([0, 1]), [[0], [1]], resize="clip", resolution=8))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_resize_is_refused_at_once(memory_set) -> None:
    with pytest.raises(RequestError, match="'paper' is unknown: choose one of clip, squash, "):
        load_batches(memory_set([0]), [[0]], resize="paper", resolution=8)
