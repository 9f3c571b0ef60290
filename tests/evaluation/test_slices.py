"""Results by slice agree with counts and Wilson's formula; contrast consistency is counted by group."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from stages.evaluation.slices import (
    contrast_consistency,
    paired_interval,
    slice_metrics,
    worst_slice,
)


def test_slices_are_counted_and_have_wilsons_interval() -> None:
    columns = {
        "shop": np.array(["north", "south", "north", "", "north", "north"], dtype=object),
        "year": np.array(["2024"] * 6, dtype=object),
    }
    correct = np.array([1, 0, 1, 1, 0, 1], dtype=bool)
    baseline_correct = np.array([0, 0, 1, 0, 0, 1], dtype=bool)
    groups = np.arange(6)
    table = slice_metrics(columns, correct, baseline_correct, groups, 0.95)
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
    wider = slice_metrics(columns, correct, baseline_correct, groups, 0.99)
    assert ((wider["high"] - wider["low"]) > (table["high"] - table["low"])).all()


def test_the_interval_of_a_gain_is_that_of_bonett_and_price() -> None:
    # 54 of 100 pairs agree; 36 and 10 differ in one direction and in the other.
    differences = np.repeat([0, 1, -1], [54, 36, 10])
    new, old, z = 37 / 102, 11 / 102, 1.959963984540054
    half = z * math.sqrt((new + old - (new - old) ** 2) / 102)
    low, high = paired_interval(differences, np.arange(100), 0.05)
    assert (low, high) == pytest.approx((new - old - half, new - old + half), abs=1e-12)
    assert paired_interval(-differences, np.arange(100), 0.05) == pytest.approx((-high, -low))


def test_the_interval_of_a_gain_is_wider_where_samples_come_in_groups() -> None:
    differences = np.repeat([1, 0, -1], [30, 40, 10])
    alone = paired_interval(differences, np.arange(80), 0.05)
    grouped = paired_interval(differences, np.repeat(np.arange(8), 10), 0.05)  # each of one kind
    assert grouped[0] < alone[0] < alone[1] < grouped[1]
    one_group = paired_interval(differences, np.zeros(80), 0.05)
    assert one_group == alone


def test_intervals_of_gains_hold_together() -> None:
    correct, baseline = np.arange(40) % 2 == 0, np.arange(40) % 4 == 0
    one = slice_metrics(
        {"all": np.full(40, "x", dtype=object)}, correct, baseline, np.arange(40), 0.9
    )
    two = slice_metrics(
        {"all": np.full(40, "x", dtype=object), "same": np.full(40, "y", dtype=object)},
        *(correct, baseline, np.arange(40), 0.95),
    )
    halves = slice_metrics(
        {"all": np.full(40, "x", dtype=object), "same": np.full(40, "y", dtype=object)},
        *(correct, baseline, np.arange(40), 0.9),
    )
    gain = ["gain_low", "gain_high"]
    expected = paired_interval(correct.astype(int) - baseline.astype(int), np.arange(40), 0.05)
    assert_allclose(halves[gain].to_numpy(), [expected, expected])
    assert (two["gain_low"] < halves["gain_low"]).all()
    assert (halves["gain_low"] < one["gain_low"].iloc[0]).all()
    assert one["gain"].tolist() == [0.25]


def test_simultaneous_intervals_miss_a_gain_of_zero_in_few_of_many_draws() -> None:
    random, misses = np.random.default_rng(0), 0
    columns = {"slice": np.repeat(np.arange(10), 20)}
    for _ in range(200):
        correct, baseline = (random.random(200) < 0.7 for _ in range(2))
        table = slice_metrics(columns, correct, baseline, np.arange(200), 0.95)
        misses += bool((table["verdict"] != "not distinguishable").any())
    assert misses <= 20  # 10 are expected at most; 20 or fewer in 99.9% of runs


def test_the_worst_slice_is_one_that_is_surely_worse_or_else_the_lowest_of_some_size() -> None:
    def table(*rows: tuple[str, int, int, int]) -> dict[str, object] | None:
        """Return the worst slice of rows of value, count, correct, correct of the baseline."""
        values = np.repeat([name for name, *_ in rows], [count for _, count, *_ in rows])
        model = np.concatenate([np.arange(count) < right for _, count, right, _ in rows])
        baseline = np.concatenate([np.arange(count) < right for _, count, _, right in rows])
        slices = slice_metrics(
            {"kind": values.astype(object)}, model, baseline, np.arange(len(values)), 0.95
        )
        return worst_slice(slices)

    assert table(("a", 20, 10, 10), ("b", 20, 12, 10)) is None
    assert (table(("few", 3, 0, 3), ("some", 12, 4, 6), ("c", 30, 20, 10)) or {})["value"] == "some"
    assert (table(("few", 3, 0, 3), ("c", 30, 20, 10)) or {})["value"] == "few"
    worst = table(("few", 12, 4, 7), ("many", 400, 200, 280), ("c", 30, 20, 10)) or {}
    assert (worst["value"], worst["verdict"]) == ("many", "worse")


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
