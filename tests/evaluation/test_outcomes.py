import pytest

from zsrobust.evaluation.outcomes import Outcomes


@pytest.mark.slow
def test_no_flipped_bit_of_a_value_passes(tmp_path):
    written = Outcomes(["a", "b"], [0, 1], [0, 0], [0.25, 3.5], [1.5, -2.0], ["", "clean"])
    path = tmp_path / "0.parquet"
    written.write(path)
    whole = path.read_bytes()
    assert Outcomes.read(path) == written
    unread = 0
    for bit in range(0, 8 * len(whole), 37):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        found = Outcomes.read(path)
        # Some bits mean nothing, such as those of statistics; no value comes out changed.
        assert found in (None, written)
        unread += found is None
    assert unread > 10
