import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.attacks import ThreatModel
from zsrobust.errors import RequestError

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


def test_bad_threats_are_refused():
    with pytest.raises(RequestError, match="norm 'l7'"):
        ThreatModel(norm="l7")
    with pytest.raises(RequestError, match="eps -1"):
        ThreatModel(eps=-1.0)
