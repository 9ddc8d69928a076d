import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstest

from zsrobust.attacks import ThreatModel
from zsrobust.utils.errors import RequestError
from zsrobust.utils.noise import uniform_noise

eps_values = st.floats(0, 0.6)


def images(seed):
    return torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))


@given(eps_values, st.integers(0, 99))
def test_projection_is_inside_and_nearest(eps, seed):
    threat, clean = ThreatModel(eps=eps), images(seed)
    wild = 3 * images(seed + 100) - 1
    found = threat.project(clean, wild)
    # Nearest in every pixel: the wild value clamped to the interval that ball and range leave.
    low = (clean.double() - eps).clamp_min(0)
    high = (clean.double() + eps).clamp_max(1)
    torch.testing.assert_close(found.double(), wild.double().clamp(low, high), atol=1e-7, rtol=0)
    torch.testing.assert_close(threat.project(clean, found), found, atol=0, rtol=0)


@given(eps_values, st.integers(0, 99))
def test_start_fills_the_ball(eps, seed):
    threat = ThreatModel(eps=eps)
    clean = torch.full((1, 3, 4, 4), 0.5)
    noise = torch.ones_like(clean)
    started = threat.start(clean, noise)
    expected = min(1.0, 0.5 + eps)
    torch.testing.assert_close(started, torch.full_like(clean, expected), atol=1e-7, rtol=0)
    assert threat.start(clean, None) is clean


def test_step_follows_the_sign_of_the_gradient():
    threat = ThreatModel(eps=0.25)
    clean = torch.full((1, 1, 1, 3), 0.5)
    gradient = torch.tensor([[[[1e-9, -7.0, 0.0]]]])
    moved = threat.step(clean, clean, gradient, 0.125)
    assert moved.flatten().tolist() == [0.625, 0.375, 0.5]
    assert threat.step(clean, moved, gradient, 0.25).flatten().tolist() == [0.75, 0.25, 0.5]


def lengths(change):
    return change.double().flatten(1).square().sum(1).sqrt()


@given(st.floats(0, 12), st.integers(0, 99))
def test_l2_projection_is_inside_ball_and_range_and_leaves_alone_what_is(eps, seed):
    threat, clean = ThreatModel("l2", eps), images(seed)
    wild = 3 * images(seed + 100) - 1
    found = threat.project(clean, wild)
    assert (lengths(found - clean) <= eps + 1e-6 * max(1, eps)).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(threat.project(clean, clean), clean)
    # Halfway to grey is in the range; where it is in the ball too, it stays to the bit.
    halfway = (clean + 0.5) / 2
    inside = lengths(halfway - clean) <= 0.999 * eps
    assert torch.equal(threat.project(clean, halfway)[inside], halfway[inside])
    # The change keeps its direction where the range does not cut it.
    scale = (eps / lengths(wild - clean)).clamp_max(1)[:, None, None, None]
    expected = clean.double() + scale * (wild.double() - clean.double())
    free = (expected > 1e-6) & (expected < 1 - 1e-6)
    torch.testing.assert_close(found.double()[free], expected[free], atol=1e-6, rtol=0)


@given(st.floats(0, 12), st.integers(0, 99), st.integers(-40, 30))
def test_l2_step_has_its_length_along_the_gradient_however_small(eps, seed, exponent):
    threat = ThreatModel("l2", eps)
    clean = torch.full((2, 3, 4, 4), 0.5)
    gradient = (images(seed) - 0.5) * 10.0**exponent
    moved = threat.step(clean, clean, gradient, 0.01)
    direction = (images(seed) - 0.5).double()
    expected = min(eps, 0.01) * direction / lengths(direction)[:, None, None, None]
    torch.testing.assert_close(moved.double() - 0.5, expected, atol=2e-4, rtol=0)
    assert torch.equal(threat.step(clean, clean, torch.zeros_like(clean), 0.01), clean)


def test_l2_start_is_uniform_in_the_ball():
    n, eps = 4000, 0.4
    clean = torch.full((n, 3, 1, 1), 0.5)
    noise = uniform_noise(clean, [str(index) for index in range(n)], seed=0, purpose="t")
    change = (ThreatModel("l2", eps).start(clean, noise) - clean).flatten(1).double()
    radius = change.square().sum(1).sqrt()
    # In three dimensions the cube of the radius is uniform, and so is each coordinate of the
    # direction (Archimedes); neither tells of the other.
    for name, value in [
        ("radius", (radius / eps) ** 3),
        *[(axis, (change[:, axis] / radius + 1) / 2) for axis in range(3)],
    ]:
        assert kstest(value.numpy(), "uniform").pvalue > 1e-3, name
    near = radius < radius.median()
    assert ks_2samp(change[near, 0] / radius[near], change[~near, 0] / radius[~near]).pvalue > 1e-3


@given(st.permutations(list("abcd")), st.integers(1, 4))
def test_l2_start_depends_on_the_sample_alone(order, size):
    def start(ids):
        clean = torch.full((len(ids), 3, 5, 5), 0.5)
        noise = uniform_noise(clean, ids, seed=0, purpose="t")
        return ThreatModel("l2", 0.3).start(clean, noise)

    whole = dict(zip("abcd", start(list("abcd")), strict=True))
    for name, found in zip(order[:size], start(order[:size]), strict=True):
        torch.testing.assert_close(found, whole[name], atol=1e-7, rtol=0)


def test_l2_start_is_finite_at_the_ends_of_the_noise():
    clean = torch.full((2, 3, 2, 2), 0.5)
    noise = torch.full_like(clean, -1.0)
    noise[1] = 1 - 2**-23
    assert ThreatModel("l2", 0.3).start(clean, noise).isfinite().all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_distance_is_the_norm_of_the_change(norm):
    clean, other = images(1), images(2)
    expected = torch.linalg.vector_norm(
        (other - clean).double().flatten(1), ord={"linf": float("inf"), "l2": 2}[norm], dim=1
    )
    torch.testing.assert_close(ThreatModel(norm).distance(clean, other).double(), expected)


def test_bad_threats_are_refused():
    with pytest.raises(RequestError, match="norm is 'l7': must be linf or l2"):
        ThreatModel(norm="l7")
    with pytest.raises(RequestError, match="eps -1"):
        ThreatModel(eps=-1.0)
