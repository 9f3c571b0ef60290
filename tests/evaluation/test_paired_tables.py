"""Two tables compared: the figures of `compare_predictions`, whatever the order of the rows."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.predictions import make_rows, read_table, write_table

from stages.core.errors import UserError
from stages.core.schema import EvaluateClassifier
from stages.evaluation.imported_predictions import PredictionTable, Sample
from stages.evaluation.metric_significance import compare_predictions
from stages.evaluation.paired_tables import PairedPredictions, compare_pairs, pair_tables

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]
METRICS: tuple[Metric, ...] = ("accuracy", "balanced_accuracy", "macro_f1")


def params(metric: Metric = "accuracy", **changes: Any) -> EvaluateClassifier:
    values = {
        "metric": metric,
        "confidence": 0.95,
        "resamples": 1000,
        "seed": 0,
        "bins": 10,
        "worthwhile_gain": 0.05,
        "assumed_regressions": 0.02,
        **changes,
    }
    return EvaluateClassifier(**values)


def table(name: str, samples: dict[str, tuple[str, str, str]], **losses: float) -> PredictionTable:
    """Return a table of id -> (label, prediction, group)."""
    located = {
        key: Sample(f"row {place}", *row) for place, (key, row) in enumerate(samples.items(), 1)
    }
    return PredictionTable(name, located, {}, losses or None)


def refusal(first: PredictionTable, second: PredictionTable, *, common: bool = False) -> str:
    with pytest.raises(UserError) as error:
        pair_tables(first, second, common=common)
    return str(error.value)


ROW = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 3))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    rows=st.lists(ROW, min_size=2, max_size=40),
    metric=st.sampled_from(METRICS),
    grouped=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_the_figures_are_those_of_the_joined_arrays_in_any_order(
    rows: list[tuple[int, int, int, int]], metric: Metric, grouped: bool, random: Any
) -> None:
    labels, before, after, groups = (np.array(column) for column in zip(*rows, strict=True))
    names = [f"s{index:03}" for index in range(len(rows))]
    group = [f"g{number}" if grouped else "" for number in groups]
    expected = compare_predictions(
        labels, before, after[None], 3, params(metric), group if grouped else None
    )
    methods = []
    for name, predictions in (("a", before), ("b", after)):
        samples = {
            key: (str(label), str(prediction), family)
            for key, label, prediction, family in zip(
                names, labels, predictions, group, strict=True
            )
        }
        order = random.sample(names, len(names))
        methods.append(table(name, {key: samples[key] for key in order}))
    result = compare_pairs(pair_tables(*methods), params(metric))
    assert result.verdict == expected.verdict
    assert result.figures == expected.figures
    assert len(result.fixed()) == expected.figures["fixed"]
    assert len(result.broken()) == expected.figures["broken"]
    assert result.accepted == (
        expected.verdict in {"better", "equivalent"} or bool((before == after).all())
    )


def two_methods(fixed: int, broken: int, kept: int) -> PairedPredictions:
    """Return two methods for independent samples, with so many fixed, broken and kept ones."""
    right = [(0, 1)] * fixed + [(1, 0)] * broken + [(1, 1)] * kept
    return pair_tables(
        *(
            table(name, {f"s{n:04}": ("1", str(pair[index]), "") for n, pair in enumerate(right)})
            for index, name in enumerate("ab")
        )
    )


@pytest.mark.parametrize(
    ("pairs", "changes", "verdict", "accepted"),
    [
        (two_methods(40, 4, 156), {}, "better", True),
        (two_methods(4, 40, 156), {}, "worse", False),
        (two_methods(2, 2, 1996), {"equivalence_margin": 0.01}, "equivalent", True),
        (two_methods(2, 2, 1996), {"worthwhile_gain": 0.1}, "not distinguishable", False),
        (two_methods(1, 1, 20), {}, "underpowered", False),
        (two_methods(0, 0, 20), {}, "underpowered", True),
    ],
)
def test_the_second_method_is_accepted_where_evidence_allows_it(
    pairs: PairedPredictions, changes: dict[str, Any], verdict: str, accepted: bool
) -> None:
    result = compare_pairs(pairs, params(**changes))
    assert (result.verdict, result.accepted) == (verdict, accepted)
    assert result.identical == (result.figures["fixed"] + result.figures["broken"] == 0)


def test_the_samples_that_changed_have_id_label_and_both_predictions() -> None:
    first = table("a", {"x": ("1", "0", ""), "y": ("1", "1", ""), "z": ("0", "0", "")})
    second = table("b", {"z": ("0", "0", ""), "y": ("1", "2", ""), "x": ("1", "1", "")})
    result = compare_pairs(pair_tables(first, second), params())
    assert result.fixed() == [{"id": "x", "label": "1", "a": "0", "b": "1"}]
    assert result.broken() == [{"id": "y", "label": "1", "a": "1", "b": "2"}]


def test_the_difference_in_log_loss_is_that_of_the_pairs(tmp_path: Path) -> None:
    labels = ["1", "0"] * 50
    tables = []
    for name, chance in (("a", 0.5), ("b", 0.8)):
        of_one = [chance if label == "1" else 1 - chance for label in labels]
        rows = make_rows(labels, labels, p_0=[1 - p for p in of_one], p_1=of_one)
        tables.append(read_table(write_table(tmp_path / f"{name}.csv", rows)))
    figures = compare_pairs(pair_tables(*tables), params()).figures
    gain = math.log(0.8) - math.log(0.5)
    assert figures["log_loss_gain"] == pytest.approx(gain, abs=1e-6)
    assert figures["log_loss_gain_low"] == pytest.approx(gain, abs=1e-6)
    assert figures["log_loss_gain_high"] == pytest.approx(gain, abs=1e-6)
    without = replace(tables[1], losses=None)
    pairs = pair_tables(tables[0], without)
    assert "log_loss_gain" not in compare_pairs(pairs, params()).figures


# Samples that do not match


def test_ids_that_only_one_table_has_are_counted_and_named() -> None:
    first = table("a.csv", dict.fromkeys("abcdx", ("1", "1", "")))
    second = table("b.csv", dict.fromkeys("xy", ("1", "1", "")))
    assert refusal(first, second) == (
        "a.csv and b.csv are not of the same samples: 4 only in a.csv ('a'; 'b'; 'c'; ...), "
        "1 only in b.csv ('y'); --common leaves out what only one of them has"
    )
    pairs = pair_tables(first, second, common=True)
    assert (pairs.ids, pairs.omitted) == (["x"], (4, 1))


def test_labels_and_groups_that_differ_are_refused_even_among_common_samples() -> None:
    first = table("a.csv", {"x": ("1", "1", "g"), "y": ("2", "2", "g"), "z": ("1", "1", "g")})
    second = table("b.csv", {"x": ("1", "1", "h"), "y": ("1", "2", "g")})
    line = (
        "a.csv and b.csv are not of the same samples: 1 with another group ('x': 'g' in row 1, 'h' in "
        "row 1), 1 with another label ('y': '2' in row 2, '1' in row 2)"
    )
    assert refusal(first, second, common=True) == line
    assert "1 only in a.csv ('z')" in refusal(first, second)


@pytest.mark.parametrize("common", [True, False])
def test_tables_without_a_common_id_are_refused(common: bool) -> None:
    first, second = (table(name, {f"{name}{n}": ("1", "1", "") for n in range(5)}) for name in "ab")
    line = "a and b have no id in common: 'a0', 'a1', 'a2', ... and 'b0', 'b1', 'b2', ..."
    assert refusal(first, second, common=common) == line


def test_groups_of_either_table_count() -> None:
    with_groups = table("a", {f"s{n}": ("1", "1", f"g{n % 2}") for n in range(8)})
    without = table("b", {f"s{n}": ("1", "1", "") for n in range(8)})
    for pair in ((with_groups, without), (without, with_groups)):
        groups = pair_tables(*pair).groups
        assert groups is not None
        assert list(groups) == ["g0", "g1"] * 4
    assert pair_tables(without, without).groups is None


def test_class_means_need_a_limited_number_of_classes() -> None:
    answers = {f"s{n}": (f"answer {n}", f"answer {n}", "") for n in range(1001)}
    pairs = pair_tables(table("a", answers), table("b", answers))
    assert compare_pairs(pairs, params()).figures["gain"] == 0.0
    with pytest.raises(UserError, match="--metric macro_f1: 1,001 different labels"):
        compare_pairs(pairs, params("macro_f1"))
