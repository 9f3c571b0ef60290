"""Results by slice agree with counts and Wilson's formula; contrast consistency is counted by group."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from stages.evaluation.slices import contrast_consistency, slice_metrics


def test_slices_are_counted_and_have_wilsons_interval() -> None:
    columns = {
        "shop": np.array(["north", "south", "north", "", "north", "north"], dtype=object),
        "year": np.array(["2024"] * 6, dtype=object),
    }
    correct = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    baseline_correct = np.array([0, 0, 1, 0, 0, 1], dtype=bool)
    table = slice_metrics(columns, correct, baseline_correct, 0.95)
    assert table[["slice", "value", "count", "errors", "baseline_errors"]].to_numpy().tolist() == [
        ["shop", "", 1, 0, 1],
        ["shop", "north", 4, 1, 2],
        ["shop", "south", 1, 1, 1],
        ["year", "2024", 6, 2, 4],
    ]
    assert_allclose(table["accuracy"], [1, 3 / 4, 0, 4 / 6])
    assert_allclose(table["baseline_accuracy"], [0, 2 / 4, 0, 2 / 6])
    z = 1.959963984540054
    for row in table.to_dict("records"):
        n, p = row["count"], row["accuracy"]
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half), abs=1e-9)
    wider = slice_metrics(columns, correct, baseline_correct, 0.99)
    assert ((wider["high"] - wider["low"]) > (table["high"] - table["low"])).all()


def test_a_group_is_consistent_if_all_its_texts_of_several_labels_are_correct() -> None:
    table = [
        ("pair, right", 0, True), ("pair, right", 1, True),
        ("pair, half right", 0, True), ("pair, half right", 1, False),
        ("pair, wrong", 1, False), ("pair, wrong", 0, False),
        ("one label", 1, True), ("one label", 1, True),
        ("alone", 0, True),
        ("three, right", 0, True), ("three, right", 1, True), ("three, right", 1, True),
        ("three, one wrong", 0, True), ("three, one wrong", 1, True), ("three, one wrong", 1, False),
    ]  # fmt: skip
    for order in (range(15), np.random.default_rng(0).permutation(15)):
        rows = [table[index] for index in order]
        groups, labels, correct = (np.array(column) for column in zip(*rows, strict=True))
        assert contrast_consistency(groups, labels, correct) == (2, 5)
    groups = np.array(["a", "b"])
    assert contrast_consistency(groups, np.array([0, 1]), np.array([True, True])) == (0, 0)
