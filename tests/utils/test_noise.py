import struct

import torch
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.utils.noise import noise_of_keys, pixel_keys, sample_key, uniform_noise

GOLDEN = 0x9E3779B97F4A7C15


def mixed(z):
    """SplitMix64's output function, with Python's unbounded integers."""
    z %= 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def splitmix64(seed, count):
    """The published generator."""
    return [mixed(seed + place * GOLDEN) for place in range(1, count + 1)]


def noise_of(ids, **key):
    return uniform_noise(torch.zeros(len(ids), 3, 5, 5), ids, **{"seed": 1, "purpose": "t", **key})


def test_equals_splitmix64():
    found = noise_of(["a"], epoch=4, restart=2).flatten().double()
    outputs = splitmix64(sample_key(1, "t", 4, "a", 2), 75)
    expected = torch.tensor([(value >> 40) / 2**23 - 1 for value in outputs], dtype=torch.float64)
    assert torch.equal(found, expected)


@given(st.permutations(["a", "b", "c", "d"]), st.integers(1, 4))
def test_depends_on_the_sample_alone(order, size):
    whole = dict(zip("abcd", noise_of(list("abcd")), strict=True))
    for name, values in zip(order[:size], noise_of(order[:size]), strict=True):
        assert torch.equal(values, whole[name])


def test_every_part_of_the_key_matters():
    base = noise_of(["a"])
    others = [
        noise_of(["b"]),
        noise_of(["a"], seed=2),
        noise_of(["a"], purpose="u"),
        noise_of(["a"], epoch=1),
        noise_of(["a"], restart=1),
    ]
    for index, other in enumerate(others):
        assert not torch.equal(base, other), index


def test_is_uniform_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    values = noise_of([str(index) for index in range(400)]).flatten()
    assert torch.equal(before, torch.random.get_rng_state())
    assert values.min() >= -1
    assert values.max() < 1
    # 30,000 draws: mean 0 with deviation 0.0033, mean square 1/3 with deviation 0.0017.
    assert abs(values.mean()) < 0.015
    assert abs(values.square().mean() - 1 / 3) < 0.008
    neighbours = torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]
    assert abs(neighbours) < 0.03


def test_pixel_keys_equal_unbounded_integers():
    images = torch.rand(2, 3, 2, 2)
    images[0, 0, 0, 0] = -0.0
    found = pixel_keys(images, seed=3, purpose="t", restart=1).tolist()
    for image, key in zip(images, found, strict=True):
        bits = [struct.unpack("<i", struct.pack("<f", float(p) + 0.0))[0] for p in image.flatten()]
        places = [mixed(place * GOLDEN) | 1 for place in range(1, len(bits) + 1)]
        total = sum(b * p for b, p in zip(bits, places, strict=True))
        assert key % 2**64 == mixed(total + sample_key(3, "t", 0, "", 1))


@given(st.integers(0, 74), st.integers(0, 3))
def test_a_key_is_of_the_pixels_alone(pixel, row):
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    keys = pixel_keys(images, seed=0, purpose="t")
    assert torch.equal(pixel_keys(images.flip(0)[row:], seed=0, purpose="t"), keys.flip(0)[row:])
    nudged = images.clone()
    place = nudged[row].view(-1)
    place[pixel] = torch.nextafter(place[pixel], torch.tensor(1.0))
    changed = pixel_keys(nudged, seed=0, purpose="t") != keys
    assert changed.nonzero()[:, 0].tolist() == [row]
    noise = noise_of_keys(images, keys)
    assert torch.equal(noise_of_keys(images[row:], keys[row:]), noise[row:])


def test_seed_purpose_and_restart_each_give_other_keys():
    images = torch.rand(1, 3, 5, 5)
    keys = [
        pixel_keys(images, seed=seed, purpose=purpose, restart=restart).item()
        for seed, purpose, restart in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    ]
    assert len(set(keys)) == 4
