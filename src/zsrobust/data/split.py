"""Splits that depend on seed and sample ids alone, never on the order files were listed in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest

from zsrobust.data.image_set import ImageSet
from zsrobust.utils.errors import RequestError


def keyed_draw(sample_id: str, seed: int, purpose: str) -> bytes:
    """Eight random bytes that depend on (seed, purpose, sample id) alone."""
    text = f"{seed}\x1f{purpose}\x1f{sample_id}"
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def keyed_order(sample_ids: Sequence[str], seed: int, purpose: str) -> list[int]:
    """The indices of ``sample_ids`` in the pseudo-random order of (seed, purpose)."""

    def key(index: int) -> tuple[bytes, str]:
        return keyed_draw(sample_ids[index], seed, purpose), sample_ids[index]

    return sorted(range(len(sample_ids)), key=key)


def hold_out(image_set: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """The set in two parts, (training, held out): ``round(fraction * n)`` samples are held out.

    A fraction of 0 holds out none.

    Each class gives in proportion to its size, to within one sample. A set that comes in blocks
    gives whole blocks and a part of one instead, so that few need to be fetched. Both parts keep
    the order of ``image_set``.

    Raises:
        RequestError: if a ``fraction`` above 0 leaves one of the parts without a sample.
    """
    if fraction == 0:
        return image_set, image_set.subset(())
    count = round(fraction * len(image_set)) if 0 < fraction < 1 else 0
    if not 0 < count < len(image_set):
        raise RequestError(
            f"holding out {fraction} of the {len(image_set)} images of {image_set.name} leaves an "
            "empty part: choose 0, or a fraction below 1 that takes at least one and not all"
        )
    if image_set.blocks:
        held_out = _of_few_blocks(image_set, count, seed)
    else:
        held_out = _of_every_class(image_set, count, fraction, seed)
    rest = [index for index in range(len(image_set)) if index not in held_out]
    return image_set.subset(rest), image_set.subset(sorted(held_out))


def _of_few_blocks(image_set: ImageSet, count: int, seed: int) -> set[int]:
    members: dict[int, list[int]] = {}
    for index in keyed_order(image_set.sample_ids, seed, "hold-out"):
        members.setdefault(image_set.blocks[index], []).append(index)
    # The block of the sample drawn first comes first.
    return set([index for block in members.values() for index in block][:count])


def _of_every_class(image_set: ImageSet, count: int, fraction: float, seed: int) -> set[int]:
    members = _by_class(image_set, seed, "hold-out")
    given = {label: int(fraction * len(indices)) for label, indices in members.items()}
    # Largest remainders first; the sort is stable, so that equal ones stay in keyed order.
    by_remainder = sorted(members, key=lambda label: given[label] - fraction * len(members[label]))
    for label in by_remainder[: count - sum(given.values())]:
        given[label] += 1
    return {index for label in members for index in members[label][: given[label]]}


def take(image_set: ImageSet, n: int, seed: int) -> ImageSet:
    """``n`` samples, classes as balanced as they can be, in the order of ``image_set``.

    The whole set if ``n`` is at least its size. A smaller ``n`` takes a part of a larger one.

    Raises:
        RequestError: if ``n`` is below 1.
    """
    if n < 1:
        raise RequestError(f"cannot take {n} images of {image_set.name}: ask for 1 or more")
    if n >= len(image_set):
        return image_set
    rounds = zip_longest(*_by_class(image_set, seed, "take").values())
    drawn = [index for one_a_class in rounds for index in one_a_class if index is not None]
    return image_set.subset(sorted(drawn[:n]))


def keep_classes(image_set: ImageSet, count: int) -> ImageSet:
    """The samples of the first ``count`` classes, or of the last ``-count`` where it is negative.

    First and last in a fixed pseudo-random order of the labels, so that of C classes ``count`` and
    ``count - C`` share none and leave none out. Classes keep the order of ``image_set``.

    Raises:
        RequestError: if fewer than two classes are kept, or the set has fewer than asked for.
    """
    classes = len(image_set.class_names)
    if not 2 <= abs(count) <= classes:
        raise RequestError(
            f"{image_set.name} has {classes} classes: keep 2 to {classes} of them, not {count}"
        )
    order = keyed_order([str(label) for label in range(classes)], 0, "classes")
    kept = sorted(order[:count] if count > 0 else order[count:])
    new_label = {label: index for index, label in enumerate(kept)}
    part = image_set.subset([i for i, label in enumerate(image_set.labels) if label in new_label])
    return replace(
        part,
        class_names=tuple(image_set.class_names[label] for label in kept),
        labels=tuple(new_label[label] for label in part.labels),
    )


def _by_class(image_set: ImageSet, seed: int, purpose: str) -> dict[int, list[int]]:
    """The indices of each label, classes and indices both in keyed order."""
    members: dict[int, list[int]] = {}
    for index in keyed_order(image_set.sample_ids, seed, purpose):
        members.setdefault(image_set.labels[index], []).append(index)
    return members
