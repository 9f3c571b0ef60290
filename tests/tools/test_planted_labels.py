"""Planted labels: as many as asked for, each of another class; and the cause names some of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.tools.planted_labels import with_wrong_labels


@given(st.integers(1, 200), st.integers(2, 5), st.floats(0.01, 1), st.integers(0, 9))
def test_a_share_of_the_labels_is_another_class(
    count: int, classes: int, share: float, seed: int
) -> None:
    labels = np.arange(count) % classes
    changed = with_wrong_labels(labels, classes, share, np.random.default_rng(seed))
    assert (changed != labels).sum() == np.ceil(share * count)
    assert set(changed) <= set(range(classes))
    assert labels.tolist() == (np.arange(count) % classes).tolist()


def test_the_other_classes_are_equally_likely() -> None:
    labels = np.zeros(3000, dtype=int)
    changed = with_wrong_labels(labels, 4, 1.0, np.random.default_rng(0))
    assert np.bincount(changed, minlength=4)[0] == 0
    assert np.bincount(changed, minlength=4)[1:] == pytest.approx([1000] * 3, abs=150)
