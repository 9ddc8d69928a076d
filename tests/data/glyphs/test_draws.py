import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.data.glyphs.draws import stream, uniform

WORD = 1 << 64


def splitmix(state: int) -> int:
    """SplitMix64's output function in Python's integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % WORD
    return state ^ (state >> 31)


@given(st.text(max_size=5), st.integers(0, 2**40), st.integers(1, 6))
def test_numbers_are_splitmix64_of_the_index(word: str, index: int, count: int) -> None:
    key = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    golden = 0x9E3779B97F4A7C15
    seed = splitmix((key + (index + 1) * golden) % WORD)
    expected = [(splitmix((seed + j * golden) % WORD) >> 40) / 2**24 for j in range(1, count + 1)]
    assert uniform(stream(word), np.array([index]), count)[0].tolist() == expected


def test_draws_are_batch_independent() -> None:
    key = stream("a")
    together = uniform(key, np.arange(100), 7)
    assert np.array_equal(uniform(key, np.array([42, 3]), 7), together[[42, 3]])
    assert np.array_equal(uniform(key, np.arange(100), 3), together[:, :3])


def test_streams_are_even_and_unrelated() -> None:
    a, b = (uniform(stream("set", split), np.arange(20_000), 2) for split in ("train", "test"))
    for column in (a[:, 0], a[:, 1], b[:, 0]):
        # Twenty bins of 1,000 each; 5 standard deviations of a bin are 154.
        assert np.abs(np.histogram(column, 20, (0, 1))[0] - 1000).max() < 154
    for one, other in ((a[:, 0], a[:, 1]), (a[:, 0], b[:, 0]), (a[1:, 0], a[:-1, 0])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))
