"""A few images that stand for all, and fewer that are among them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samat_mm.evaluation.subsets import chosen_images, selection_of, spread_order


@given(st.integers(1, 3000), st.data())
def test_every_beginning_is_spread_over_the_whole_set(count, data):
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    size = data.draw(st.integers(1, count))
    places = np.array([-1, *chosen_images(count, size), count])
    assert np.diff(places).max() <= 3 * count / size + 2  # no part of the set is left out
    smaller = data.draw(st.integers(1, size))
    assert set(chosen_images(count, smaller)) <= set(chosen_images(count, size))


@pytest.mark.parametrize(('classes', 'sorted_by_class'), [(10, True), (10, False), (2, False), (7, False)])
def test_every_class_has_its_share(classes, sorted_by_class):
    """In folders per class, and where the classes take turns."""
    labels = [index * classes // 1400 if sorted_by_class else index % classes for index in range(1400)]
    found = Counter(labels[number] for number in chosen_images(1400, 10 * classes))
    assert len(found) == classes
    assert max(found.values()) <= 14


def test_all_of_them_and_none():
    assert chosen_images(3, None) == chosen_images(3, 3) == chosen_images(3, 100) == [0, 1, 2]
    with pytest.raises(ValueError, match='max_samples must be a whole number of at least 1; got 0'):
        chosen_images(3, 0)
    with pytest.raises(ValueError, match='the test set is empty'):
        chosen_images(0, None)
    assert selection_of(3, 3) == 'all 3'
    assert selection_of(2, 3) == '2 of 3, spread evenly over the data set'
