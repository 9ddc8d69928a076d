import torch
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.attacks.noise import sample_key, uniform_noise


def splitmix64(seed, count):
    """The published generator, with Python's unbounded integers."""
    state, outputs = seed % 2**64, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        outputs.append(z ^ (z >> 31))
    return outputs


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
