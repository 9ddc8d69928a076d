import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch.nn import functional as F

from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.protocols import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, PROTOCOLS
from zsrobust.utils.errors import RequestError


def photo_like(height, width):
    """8-bit images with smooth parts, edges and noise, (H, W, 3)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    smooth = 127 + 80 * np.sin(x / 5)[..., None] * np.cos(y / 7)[..., None] * np.ones(3)
    smooth[: height // 3, : width // 2] = (255, 0, 90)
    return (smooth + rng.normal(0, 15, smooth.shape)).clip(0, 255).astype(np.uint8)


def to_tensor(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def column(values):
    return torch.tensor(values).view(1, 3, 1, 1)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("shape", [(224, 224), (300, 200), (150, 333), (32, 32), (20, 41)])
def test_clip_is_open_clips_own_transform(shape, mode, interpolation):
    pixels = photo_like(*shape)
    settings = PreprocessCfg(
        size=48, mean=CLIP_MEAN, std=CLIP_STD, interpolation=interpolation, resize_mode=mode
    )
    theirs = image_transform_v2(settings, is_train=False)(Image.fromarray(pixels))[None]
    made = Preprocessing("clip", 48, interpolation=interpolation, crop=mode == "shortest")
    ours = made(to_tensor(pixels))
    assert ours.shape == theirs.shape
    # Pillow rounds to whole grey levels after each of its two passes.
    levels = ((ours - theirs) * column(CLIP_STD)).abs() * 255
    assert levels.max() < 1.5
    assert levels.mean() < 0.5


def test_clip_without_antialias_would_not_pass():
    pixels = photo_like(224, 224)
    theirs = image_transform_v2(
        PreprocessCfg(size=48, mean=CLIP_MEAN, std=CLIP_STD), is_train=False
    )(Image.fromarray(pixels))[None]
    plain = F.interpolate(to_tensor(pixels), (48, 48), mode="bicubic").clamp(0, 1)
    levels = (theirs * column(CLIP_STD) + column(CLIP_MEAN) - plain).abs() * 255
    assert levels.max() > 10


def cubic_matrix(source, target):
    """Rows of bicubic weights (a = -0.75), half-pixel centres, edges repeated."""
    weights = np.zeros((target, source))
    for i in range(target):
        position = (i + 0.5) * source / target - 0.5
        base = int(np.floor(position))
        for j in range(base - 1, base + 3):
            d, a = abs(position - j), -0.75
            if d <= 1:
                w = (a + 2) * d**3 - (a + 3) * d**2 + 1
            else:
                w = a * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[i, min(max(j, 0), source - 1)] += w
    return weights


@pytest.mark.parametrize("shape", [(64, 64), (30, 50), (17, 16)])
@pytest.mark.parametrize(
    ("protocol", "mean", "std"),
    [("authors_code", IMAGENET_MEAN, IMAGENET_STD), ("tecoa_code", CLIP_MEAN, CLIP_STD)],
)
def test_scripts_resize_by_plain_bicubic_to_a_square(protocol, mean, std, shape):
    image = to_tensor(photo_like(*shape))
    rows, columns = cubic_matrix(shape[0], 24), cubic_matrix(shape[1], 24)
    resized = np.einsum("ih,chw,jw->cij", rows, image[0].double().numpy(), columns)
    mean, std = np.array(mean), np.array(std)
    expected = (resized - mean[:, None, None]) / std[:, None, None]
    ours = Preprocessing(protocol, 24)(image)[0].double().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_efficientnet_lite_is_its_published_formula_at_native_size():
    pixels = photo_like(16, 16)
    ours = Preprocessing("efficientnet_lite", 16)(to_tensor(pixels))[0]
    expected = (torch.from_numpy(pixels).permute(2, 0, 1).float() - 127) / 128
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("shape", [(5, 5), (9, 12)])
def test_gradient_agrees_with_finite_differences(protocol, shape):
    preprocessing = Preprocessing(protocol, 6).double()
    generator = torch.Generator().manual_seed(0)
    # Away from 0 and 1, where the clamp has a kink.
    images = 0.4 + 0.2 * torch.rand(1, 3, *shape, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(preprocessing, images.requires_grad_())


def test_a_towers_own_statistics_replace_the_protocols():
    preprocessing = Preprocessing("clip", 4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert torch.equal(preprocessing(torch.ones(1, 3, 4, 4)), torch.ones(1, 3, 4, 4))
    assert preprocessing.describe()["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("options", "resize"),
    [
        ({}, "bicubic, antialias"),
        ({"interpolation": "bilinear"}, "bilinear, antialias"),
        ({"crop": False}, "bicubic, antialias, squash"),
    ],
)
def test_its_repr_and_the_results_say_how_it_resizes(options, resize):
    preprocessing = Preprocessing("clip", 48, **options)
    assert preprocessing.describe()["resize"] == resize
    for expected in (repr(resize), "'clip'", "image_size=48", f"mean={list(CLIP_MEAN)}"):
        assert expected in repr(preprocessing)


def test_with_protocol_changes_the_protocol_and_keeps_the_size():
    own = Preprocessing("clip", 4, mean=(0.5, 0.5, 0.5))
    assert own.with_protocol("clip") is own
    other = own.with_protocol("authors_code")
    assert (other.protocol, other.image_size) == ("authors_code", 4)
    torch.testing.assert_close(other.mean.flatten(), torch.tensor(IMAGENET_MEAN))


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(RequestError, match=r"'imagenet' is unknown.*clip, authors_code"):
        Preprocessing("imagenet", 224)
