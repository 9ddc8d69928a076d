"""DBD against its formulas written out in float64, and its copies against other libraries."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

from zsrobust.models.defences.dbd import Dbd
from zsrobust.utils.errors import RequestError


def drawn(seed, views, classes=5, dim=7):
    generator = torch.Generator().manual_seed(seed)
    units = F.normalize(
        torch.randn(views, 4, dim, generator=generator, dtype=torch.float64)
        + 2 * torch.randn(1, 4, dim, generator=generator, dtype=torch.float64),
        dim=-1,
    )
    vectors = torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    return units, 10 * units @ vectors.T


def written_out(units, logits, kept, threshold, strength):
    """One image: its unit embeddings (V, dim) and logits (V, C) in NumPy."""
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    entropies = [-(one * np.log(one)).sum() for one in chances]
    best = sorted(range(1, len(units)), key=lambda view: entropies[view])[:kept]
    shifts = np.stack([units[view] - units[0] for view in best])
    mean = shifts.mean(0)
    cosines = shifts @ mean / np.linalg.norm(shifts, axis=1) / np.linalg.norm(mean)
    return units[0] + (strength if cosines.mean() > threshold else 1) * mean, cosines.mean()


def test_equal_to_the_method_written_out():
    units, logits = drawn(0, Dbd().views)
    one_by_one = [(units[:, row].numpy(), logits[:, row].numpy()) for row in range(4)]
    agreements = sorted(written_out(*one, 9, 0.0, 1.0)[1] for one in one_by_one)
    # For all images, for the two that agree most, and for none.
    for threshold in (-1.0, sum(agreements[1:3]) / 2, 1.0):
        found = Dbd(threshold=threshold, kept=9).moved(units, logits)
        expected = [written_out(*one, 9, threshold, 2.5)[0] for one in one_by_one]
        torch.testing.assert_close(found, torch.from_numpy(np.stack(expected)))


def test_without_strength_nothing_is_moved_where_shifts_agree():
    units, logits = drawn(1, 32)
    assert torch.equal(Dbd(strength=0.0, threshold=-1.0).moved(units, logits), units[0])


def test_the_gradient_takes_choice_and_decision_for_constants():
    defence = Dbd(threshold=-1.0, kept=31)
    units, logits = drawn(2, defence.views)
    units.requires_grad_(True)
    (found,) = torch.autograd.grad(defence.moved(units, logits).sum(), units)
    # u + 2.5 (mean of v - u) over all 31 copies.
    assert torch.allclose(found[0], torch.tensor(1 - 2.5, dtype=torch.float64))
    assert torch.allclose(found[1:], torch.tensor(2.5 / 31, dtype=torch.float64))


@pytest.fixture(scope="module")
def image():
    levels = torch.randint(0, 256, (3, 12, 16), generator=torch.Generator().manual_seed(3))
    return levels.numpy().astype(np.uint8)


def test_copies_are_those_of_other_libraries(image):
    """Pixels are whole grey levels, so that nothing hangs on rounding."""

    def decoded(quality):
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer, formats=["JPEG"])).transpose(2, 0, 1)

    def filtered(one):
        binomial = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
        return (
            ndimage.median_filter(one, size=5, mode="nearest"),
            ndimage.uniform_filter(one, size=5, mode="mirror"),
            ndimage.convolve(one, binomial, mode="mirror"),
        )

    found = Dbd(crops=0, noisy=0, kept=1).copies(torch.from_numpy(image)[None].float() / 255)
    bits = [np.clip(32 * to(image / 32), 0, 255) for to in (np.floor, np.rint, np.ceil)]
    by_filter = [filtered(one.astype(float)) for one in image]
    filters = [np.stack([channel[index] for channel in by_filter]) for index in range(3)]
    expected = [*bits, *(decoded(quality) for quality in (50, 60, 75)), *filters]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        other = torch.from_numpy(np.asarray(other, dtype=np.float64))[None] / 255
        torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=0)


def test_every_copy_lets_a_gradient_pass(image):
    given = (torch.from_numpy(image)[None].float() / 255).requires_grad_(True)
    copies = Dbd(crops=2, noisy=2, kept=1).copies(given)
    assert len(copies) == 13
    for copy in copies:
        (gradient,) = torch.autograd.grad(copy.sum(), given, retain_graph=True)
        # Each copy keeps the sum of its weights, but for pixels cut at the range's ends.
        assert gradient.sum() > 0.4 * given.numel()


def test_noise_has_the_deviation_said_and_is_cut_at_the_range():
    grey = torch.full((1, 3, 64, 64), 0.5)
    copies = Dbd(crops=0, noisy=2, kept=1).copies(grey)[6:8]
    for copy in copies:
        assert (copy - 0.5).std().item() == pytest.approx(0.1, rel=0.03)
    assert not torch.equal(*copies)
    white = Dbd(crops=0, noisy=1, kept=1).copies(torch.ones(1, 3, 8, 8))[6]
    assert white.max() == 1


def test_kept_copies_must_exist():
    with pytest.raises(RequestError, match="dbd kept is 16: must be from 1 to 11, all copies"):
        Dbd(crops=1, noisy=1)
