"""The review of checkpoints: rules, notes, selection, warnings."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import default_task

from stages.evaluation.reference_set import ImageFeatures
from stages.kinds.image_generation.checkpoint_review import (
    copying_warnings,
    label_warnings,
    review_checkpoints,
    review_table,
    select_checkpoint,
)

PARAMS = default_task("generative").params.evaluate
REAL = {
    "frechet_validation": 2.0,
    "coverage_validation": 0.9,
    "recall_validation": 0.8,
    "copy_rate": 0.05,
    "data_copying_score": 0.5,
}


def metrics(**changes: float) -> dict[str, float]:
    return {**REAL, "frechet_validation": 4.0, **changes}


def review(*results: dict[str, float]) -> pd.DataFrame:
    by_step = {100 * number: result for number, result in enumerate(results, start=1)}
    return review_table(by_step, REAL, 359, PARAMS)


def statuses(*rows: tuple[float, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "step": 100 * np.arange(1, len(rows) + 1),
            "status": [status for _, status in rows],
            "frechet_validation": [distance for distance, _ in rows],
        }
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.sampled_from(["candidate", "review"])),
        min_size=1,
        max_size=8,
    )
)
def test_the_closest_candidate_is_selected_or_else_the_closest_of_all(
    rows: list[tuple[float, str]],
) -> None:
    step, rule_satisfied = select_checkpoint(statuses(*rows))
    distance, status = rows[step // 100 - 1]
    assert rule_satisfied == any(status == "candidate" for _, status in rows)
    assert status == "candidate" or not rule_satisfied
    eligible = [
        distance for distance, status in rows if status == "candidate" or not rule_satisfied
    ]
    assert distance == min(eligible)


def test_a_closer_checkpoint_that_breaks_a_rule_is_not_selected() -> None:
    rows = statuses((9.0, "candidate"), (1.0, "review"), (5.0, "candidate"), (5.0, "candidate"))
    assert select_checkpoint(rows) == (300, True)
    assert select_checkpoint(rows.assign(status="review")) == (200, False)


def test_the_selected_checkpoint_is_marked_in_the_review() -> None:
    results = {100: metrics(recall_validation=0.1), 200: metrics(), 300: metrics()}
    reviewed = review_checkpoints(results, REAL, 359, PARAMS)
    assert (reviewed.step, reviewed.method, reviewed.rule_satisfied) == (200, "step 200", True)
    assert list(reviewed.table["status"]) == ["review", "chosen", "candidate"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"coverage_validation": 0.85}, "coverage 0.850 is below 0.95 of 0.900"),
        ({"recall_validation": 0.75}, "recall 0.750 is below 0.95 of 0.800"),
        ({"copy_rate": 0.08}, "copy rate 0.080 is clearly above 0.05"),
        ({"data_copying_score": 0.55}, "data-copying score 0.550 is clearly above 0.5"),
    ],
)
def test_a_broken_rule_is_the_reason(change: dict[str, float], reason: str) -> None:
    table = review(metrics(), metrics(**change))
    assert list(table["status"]) == ["candidate", "review"]
    assert list(table["reason"]) == ["", reason]
    assert list(table["step"]) == [100, 200]


def test_metrics_as_of_real_images_break_no_rule() -> None:
    edge = metrics(
        coverage_validation=0.95 * REAL["coverage_validation"],
        recall_validation=0.95 * REAL["recall_validation"],
        copy_rate=0.06,  # held-out real images reach this by chance
        data_copying_score=0.53,
    )
    assert list(review(edge)["status"]) == ["candidate"]


def test_every_broken_rule_is_named() -> None:
    bad = metrics(
        coverage_validation=0.1, recall_validation=0.1, copy_rate=0.9, data_copying_score=0.9
    )
    reason = review(bad)["reason"].item()
    names = [part.split()[0] for part in reason.split("; ")]
    assert names == ["coverage", "recall", "copy", "data-copying"]


def test_quality_falls_back_from_the_best_and_diversity_collapses_from_the_checkpoint_before() -> (
    None
):
    notes = review(
        metrics(frechet_validation=4.0, coverage_validation=0.9),
        metrics(frechet_validation=4.9, coverage_validation=0.81),
        metrics(frechet_validation=5.1, coverage_validation=0.72),
        metrics(frechet_validation=5.2, coverage_validation=0.60),
        metrics(frechet_validation=3.0, coverage_validation=0.60, data_copying_score=0.6),
    )["note"]
    assert np.flatnonzero(notes.str.contains("quality falls back")).tolist() == [2, 3]
    assert np.flatnonzero(notes.str.contains("diversity collapses")).tolist() == [3]
    assert np.flatnonzero(notes.str.contains("closer to the training images")).tolist() == [4]
    assert notes.iloc[0] == "2.0 times real against real"


def test_a_selected_checkpoint_that_copies_is_a_warning() -> None:
    results = {
        100: metrics(),
        200: metrics(coverage_validation=0.1),
        300: metrics(recall_validation=0.1, copy_rate=1.0),
    }
    table = review_table(results, REAL, 359, PARAMS)
    assert copying_warnings(table, 100) == copying_warnings(table, 200) == []
    (warning,) = copying_warnings(table, 300)
    assert warning.name == "copies training images"
    assert warning.observed == (
        "step 300, the closest to real images: copy rate 1.000 is clearly above 0.05"
    )


@pytest.mark.parametrize(("agreeing", "count"), [(100, 0), (86, 0), (70, 1), (10, 1)])
def test_samples_of_other_classes_than_requested_are_a_warning(agreeing: int, count: int) -> None:
    labels = np.zeros(100, dtype=np.int64)

    def describe(share: int) -> ImageFeatures:
        probabilities = np.eye(2)[(np.arange(100) >= share).astype(int)]
        return ImageFeatures(np.zeros((100, 1)), probabilities, labels, np.ones(100))

    warnings = label_warnings(describe(agreeing), labels, describe(98), labels)
    assert [warning.name for warning in warnings] == ["labels are ignored"] * count
