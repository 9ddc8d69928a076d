from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsrobust.data.split import hold_out, keep_classes, keyed_order, take
from zsrobust.utils.errors import RequestError

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
label_lists = st.lists(st.integers(0, 5), min_size=2, max_size=80)


def test_keyed_order_is_a_permutation_and_follows_its_key() -> None:
    ids = [f"img-{i}" for i in range(200)]
    order = keyed_order(ids, 3, "x")
    assert sorted(order) == list(range(200))
    assert order == keyed_order(ids, 3, "x")
    others = [keyed_order(ids, 4, "x"), keyed_order(ids, 3, "y"), list(range(200))]
    assert order not in others


def test_keyed_order_is_written_down() -> None:
    assert keyed_order(["a", "b", "c", "d", "e"], 0, "epoch 0") == [0, 3, 2, 4, 1]


@quick
@given(st.lists(st.text(), unique=True, max_size=40), st.randoms())
def test_keyed_order_does_not_depend_on_file_order(ids: list[str], random) -> None:
    shuffled = random.sample(ids, len(ids))
    in_order = [ids[i] for i in keyed_order(ids, 0, "p")]
    assert in_order == [shuffled[i] for i in keyed_order(shuffled, 0, "p")]


def test_a_fraction_of_0_holds_out_none(memory_set) -> None:
    whole = memory_set([0, 1, 1])
    train, held_out = hold_out(whole, 0, 5)
    assert (list(train.sample_ids), len(held_out)) == (list(whole.sample_ids), 0)


@quick
@given(label_lists, st.floats(0.05, 0.95), st.integers(0, 9))
def test_hold_out_is_disjoint_complete_and_proportional(memory_set, labels, fraction, seed) -> None:
    whole = memory_set(labels)
    count = round(fraction * len(labels))
    if not 0 < count < len(labels):
        with pytest.raises(RequestError):
            hold_out(whole, fraction, seed)
        return
    train, held_out = hold_out(whole, fraction, seed)
    assert len(held_out) == count
    position = {sample_id: i for i, sample_id in enumerate(whole.sample_ids)}
    for part in (train, held_out):
        places = [position[sample_id] for sample_id in part.sample_ids]
        assert places == sorted(places)
        assert list(part.labels) == [labels[i] for i in places]
    assert sorted([*train.sample_ids, *held_out.sample_ids]) == sorted(whole.sample_ids)
    held = Counter(held_out.labels)
    for label, size in Counter(labels).items():
        assert abs(held[label] - fraction * size) < 1 + 1e-9


@quick
@given(label_lists, st.randoms())
def test_parts_do_not_depend_on_file_order(memory_set, labels, random) -> None:
    whole = memory_set(labels)
    shuffled = whole.subset(random.sample(range(len(labels)), len(labels)))
    for part in (lambda s: hold_out(s, 0.5, 1)[1], lambda s: take(s, len(labels) // 2, 1)):
        assert set(part(whole).sample_ids) == set(part(shuffled).sample_ids)


def test_seeds_hold_out_different_images(memory_set) -> None:
    whole = memory_set([0] * 50)
    assert hold_out(whole, 0.2, 0)[1].sample_ids != hold_out(whole, 0.2, 1)[1].sample_ids


def test_classes_of_one_image_and_small_fractions_still_give(memory_set) -> None:
    train, held_out = hold_out(memory_set(list(range(10))), 0.2, 0)
    assert (len(train), len(held_out)) == (8, 2)
    _, held_out = hold_out(memory_set([label for label in range(20) for _ in range(10)]), 0.02, 0)
    assert len(held_out) == 4
    assert max(Counter(held_out.labels).values()) == 1


@pytest.mark.parametrize("fraction", [1, -0.1, 1.5, 0.01, 0.99, float("nan")])
def test_an_empty_part_is_refused(memory_set, fraction: float) -> None:
    with pytest.raises(RequestError, match="empty part"):
        hold_out(memory_set([0] * 10), fraction, 0)


@quick
@given(label_lists, st.integers(1, 100))
def test_take_is_balanced_nested_and_in_order(memory_set, labels, n) -> None:
    whole = memory_set(labels)
    part = take(whole, n, 0)
    assert len(part) == min(n, len(labels))
    places = [whole.sample_ids.index(sample_id) for sample_id in part.sample_ids]
    assert places == sorted(places)
    assert set(part.sample_ids) <= set(take(whole, n + 1, 0).sample_ids)
    taken, sizes = Counter(part.labels), Counter(labels)
    most = max(taken.values())
    for label, size in sizes.items():
        assert taken[label] >= min(size, most - 1)


def test_take_draws_at_random_by_seed(memory_set) -> None:
    whole = memory_set([0] * 100)
    assert take(whole, 10, 0).sample_ids == take(whole, 10, 0).sample_ids
    assert take(whole, 10, 0).sample_ids != take(whole, 10, 1).sample_ids
    assert take(whole, 10, 0).sample_ids != whole.sample_ids[:10]


def test_take_wants_at_least_one(memory_set) -> None:
    with pytest.raises(RequestError, match="ask for 1 or more"):
        take(memory_set([0, 1]), 0, 0)


@quick
@given(st.integers(4, 12), st.data())
def test_classes_are_kept_or_left_out(memory_set, classes, data) -> None:
    labels = data.draw(st.permutations([*range(classes)] * 2))
    whole = memory_set(labels)
    count = data.draw(st.integers(2, classes - 2))
    kept, left_out = keep_classes(whole, count), keep_classes(whole, count - classes)
    for part in (kept, left_out):
        assert [part.class_names[label] for label in part.labels] == [
            whole.class_names[whole.labels[whole.sample_ids.index(one)]] for one in part.sample_ids
        ]
        places = [whole.sample_ids.index(one) for one in part.sample_ids]
        assert places == sorted(places)
        assert set(part.labels) == set(range(len(part.class_names)))
    assert (len(kept.class_names), len(left_out.class_names)) == (count, classes - count)
    assert {*kept.class_names, *left_out.class_names} == {*whole.class_names}
    assert len(kept) + len(left_out) == len(whole)
    # A smaller count keeps some of the same classes, and which ones no order of samples changes.
    assert {*keep_classes(whole, 2).class_names} <= {*kept.class_names}


@pytest.mark.parametrize("count", [1, -1, 4, -4])
def test_one_class_alone_or_more_than_there_are_is_refused(memory_set, count) -> None:
    with pytest.raises(RequestError, match=f"has 3 classes: keep 2 to 3 of them, not {count}"):
        keep_classes(memory_set([0, 1, 2]), count)
