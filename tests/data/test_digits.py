from collections import Counter

import numpy as np

from zsrobust.data.digits import digits


def test_the_splits_are_disjoint_complete_and_proportional() -> None:
    train, test = digits("train"), digits("test")
    assert not set(train.sample_ids) & set(test.sample_ids)
    assert {*train.sample_ids, *test.sample_ids} == {str(index) for index in range(1797)}
    assert len(test) == round(0.2 * 1797)
    all_labels = Counter([*train.labels, *test.labels])
    for label, count in Counter(test.labels).items():
        assert abs(count - 0.2 * all_labels[label]) < 1


def test_the_split_is_the_documented_one() -> None:
    # Written down once: a change would make old and new results differ without a word.
    assert digits("test").sample_ids[:8] == ("0", "3", "16", "22", "23", "31", "36", "40")


def test_images_labels_and_names_belong_together() -> None:
    from sklearn.datasets import load_digits

    stored = load_digits()
    test = digits("test")
    assert test.class_names[3] == "three"
    assert test.native_size is None
    assert test.name == "digits"
    for position in (0, 100, len(test) - 1):
        index = int(test.sample_ids[position])
        assert test.labels[position] == stored.target[index]
        levels = np.asarray(test.read_rgb(position))[..., 1] / 255 * 16
        assert np.abs(levels - stored.images[index]).max() < 0.04


def test_the_whole_range_of_grey_is_used() -> None:
    train = digits("train")
    image = np.asarray(train.read_rgb(0))
    assert (image.min(), image.max()) == (0, 255)


def test_templates_take_a_name() -> None:
    (template,) = digits("test").templates
    assert "seven" in template.format("seven")
