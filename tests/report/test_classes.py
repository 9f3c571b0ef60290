"""The most confused pairs of a confusion matrix, and tables that stay short with many classes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.report.classes import MOST_ROWS, bucket_table, confused_pairs, split_table


def test_the_most_confused_pairs_come_first() -> None:
    matrix = pd.DataFrame(
        [["a", 5, 3, 2], ["b", 3, 1, 0], ["c", 0, 0, 0]],
        columns=["true / predicted", "a", "b", "c"],
    )
    pairs = confused_pairs(matrix)
    assert pairs.to_numpy().tolist() == [
        ["b", "a", 3, 0.75],
        ["a", "b", 3, 0.3],
        ["a", "c", 2, 0.2],
    ]


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(st.integers(0, 9), min_size=n * n, max_size=n * n).map(
            lambda cells: np.array(cells).reshape(n, n)
        )
    )
)
def test_all_errors_are_in_a_pair(counts: np.ndarray) -> None:
    names = [f"class {index}" for index in range(len(counts))]
    matrix = pd.DataFrame(counts, columns=names)
    matrix.insert(0, "true", names)
    pairs = confused_pairs(matrix)
    assert pairs["count"].sum() == counts.sum() - counts.trace()
    assert (pairs["true"] != pairs["predicted"]).all()
    assert (pairs["count"].diff().dropna() <= 0).all()


@pytest.mark.parametrize("count", [2, MOST_ROWS, MOST_ROWS + 1, 100])
def test_tables_of_classes_and_buckets_stay_short(count: int) -> None:
    sizes = [{"class": f"c{n}", "train": 5 + n, "validation": 1, "test": 1} for n in range(count)]
    table = split_table(sizes, {"train": 1, "validation": 2, "test": 3})
    assert [row[0] for row in table.rows] == [
        *(f"c{n}" for n in range(min(count, MOST_ROWS))),
        "all",
    ]
    assert (f"of {count} with the fewest" in table.caption) == (count > MOST_ROWS)
    buckets = bucket_table({f"b{n}": n for n in range(count)})
    assert [row[0] for row in buckets.rows] == [f"b{n}" for n in range(count)][::-1][:MOST_ROWS]
    assert ("largest of" in buckets.caption) == (count > MOST_ROWS)
