"""How the chunks of an evaluation are assigned to processes."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from zsrobust.evaluation.compute import assign_chunks


@given(st.lists(st.tuples(st.integers(1, 350), st.integers(1, 4)), min_size=1), st.integers(1, 9))
def test_each_chunk_falls_to_one_process_and_none_has_much_more_than_another(sizes, world_size):
    cells = [
        SimpleNamespace(
            chunks=[range(at, min(at + 100, n)) for at in range(0, n, 100)],
            attacks=[None] * attacks,
        )
        for n, attacks in sizes
    ]
    assigned = assign_chunks(cells, world_size)
    assert len(assigned) == world_size
    found = [(id(cell), at.start) for mine in assigned for cell, at in mine]
    assert sorted(found) == sorted((id(cell), at.start) for cell in cells for at in cell.chunks)
    loads = [sum(len(at) * (1 + len(cell.attacks)) for cell, at in mine) for mine in assigned]
    largest = max(len(at) * (1 + len(cell.attacks)) for cell in cells for at in cell.chunks)
    assert max(loads) - min(loads) <= largest


def test_sets_of_one_chunk_are_spread():
    cells = [SimpleNamespace(chunks=[range(50)], attacks=[None]) for _ in range(6)]
    assert [len(mine) for mine in assign_chunks(cells, 3)] == [2, 2, 2]
