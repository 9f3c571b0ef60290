"""The weights by which each class counts the same in a loss."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.datasets.dataset import Dataset


def dataset(counts: list[int]) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    table = pd.DataFrame({"row": range(len(labels)), "label": labels, "split": "train"})
    return Dataset(table, {"classes": [str(label) for label in range(len(counts))]})


def test_without_a_rule_there_are_no_weights() -> None:
    assert dataset([3, 1]).class_weights(None) is None


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(any))
def test_each_class_that_occurs_weighs_the_same_in_sum(counts: list[int]) -> None:
    weights = dataset(counts).class_weights("balanced")
    assert weights is not None
    sums = weights * np.array(counts)
    occurring = np.count_nonzero(counts)
    expected = [sum(counts) / occurring if count else 0 for count in counts]
    assert sums == pytest.approx(expected, rel=1e-5)
    assert (weights[np.array(counts) == 0] == 0).all()
