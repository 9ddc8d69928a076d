"""Random views: their laws, and what is resampled from where."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import map_coordinates

from zsrobust.models.random_views import crops, gaussian_noise, random_resized_crops, unit_numbers

KEYS = torch.arange(4000)


def coordinates(n, height=48, width=48):
    """Images whose first channel is across, and second down, from 0 to 1."""
    across = ((torch.arange(width) + 0.5) / width).expand(height, width)
    down = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    return torch.stack([across, down, torch.zeros(height, width)]).expand(n, -1, -1, -1)


def test_numbers_and_noise_follow_their_laws_and_belong_to_the_key():
    images = torch.empty(4000, 3, 2, 2)
    numbers, noise = unit_numbers(images, KEYS, 2), gaussian_noise(images, KEYS)
    assert stats.kstest(numbers[:, 1].numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(noise[:, 2, 1, 1].numpy(), "norm").pvalue > 0.01
    assert noise.isfinite().all()
    again = gaussian_noise(images[:3], KEYS[[7, 5, 7]])
    assert torch.equal(again[0], noise[7])
    assert torch.equal(again[1], noise[5])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_is_resampled_from_its_part(mirrored):
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    left, upper, width, height = 0.25, 0.1, 0.5, 0.7
    found = crops(
        image,
        torch.tensor([[width, height]]),
        torch.tensor([[left / (1 - width), upper / (1 - height)]]),
        torch.tensor([mirrored]),
    )[0]
    across = (left + width * (np.arange(16) + 0.5) / 16) * 16 - 0.5
    down = (upper + height * (np.arange(12) + 0.5) / 12) * 12 - 0.5
    grid = np.meshgrid(down, across[::-1] if mirrored else across, indexing="ij")
    expected = [
        map_coordinates(one, grid, order=1, mode="nearest") for one in image[0].double().numpy()
    ]
    torch.testing.assert_close(
        found.double(), torch.from_numpy(np.stack(expected)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("height", "width"), [(48, 48), (24, 72)])
def test_areas_ratios_places_and_flips_of_random_crops(height, width):
    """The law of torchvision's RandomResizedCrop, by rejection in NumPy."""
    found = random_resized_crops(coordinates(4000, height, width), KEYS, 0.4)
    across, down = found[:, 0].mean(1), found[:, 1].mean(2)
    inner = slice(1, -1)
    # Between the centres of the second and the last but one pixel, clear of the border.
    wide = (across[:, inner][:, -1] - across[:, inner][:, 0]) * width / (width - 3)
    high = (down[:, inner][:, -1] - down[:, inner][:, 0]) * height / (height - 3)
    random = np.random.default_rng(0)
    areas = random.uniform(0.4, 1, 40000)
    ratios = np.exp(random.uniform(math.log(3 / 4), math.log(4 / 3), 40000)) * height / width
    fits = (areas * ratios <= 1) & (areas / ratios <= 1)
    whole = (wide.abs() > 0.999) & (high > 0.999)
    assert stats.ks_2samp((wide.abs() * high)[~whole].numpy(), areas[fits]).pvalue > 0.01
    assert whole.float().mean() == pytest.approx((1 - fits.mean()) ** 10, abs=0.02)
    assert (wide < 0).float().mean() == pytest.approx(0.5, abs=0.03)
    middle = found[:, 0].mean((1, 2)) - 0.5
    share = (middle / (1 - wide.abs()))[wide.abs() < 0.8]
    assert share.abs().max() < 0.52
    assert stats.kstest(share.numpy() + 0.5, "uniform").pvalue > 0.01


def test_the_gradient_is_that_of_resampling():
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda given: random_resized_crops(given, KEYS[:2], 0.3), images, fast_mode=True
    )
