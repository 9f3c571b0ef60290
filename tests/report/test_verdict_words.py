"""The verdict in words: its test, groups, design effect, margins, and nothing of a single seed."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.core.schema import EvaluateClassifier
from stages.evaluation.loss_significance import compare_losses
from stages.evaluation.metric_significance import compare_predictions
from stages.report.cases import case_lines
from stages.report.formatting import (
    calibration_line,
    significance_line,
    summary_line,
    verdict_line,
)
from stages.report.verdict_facts import verdict_facts


def outputs(groups: int | None, fixed: int = 6, seeds: int = 3, margin: float | None = None) -> Any:
    """Return the outputs of a task: 40 samples of each group, of which the model fixes some."""
    params = EvaluateClassifier(
        confidence=0.95,
        resamples=1000,
        seed=0,
        bins=10,
        worthwhile_gain=0.04,
        assumed_regressions=0.01,
        equivalence_margin=margin,
    )
    count = 40 * (groups or 10)
    place = np.arange(count) % 40
    labels, baseline = np.ones(count, dtype=int), (place >= fixed).astype(int)
    predicted = np.tile(np.ones(count, dtype=int), (seeds, 1))
    names = None if groups is None else np.arange(count) // 40
    improvement = compare_predictions(labels, baseline, predicted, 2, params, names)
    losses = compare_losses(1.0 - baseline, 1.0 - predicted[0], params, names)
    scores = {"accuracy": 1.0, "accuracy_low": 0.9, "accuracy_high": 1.0}
    return SimpleNamespace(
        task=SimpleNamespace(name="digits", params=SimpleNamespace(evaluate=params)),
        gain={"verdict": improvement.verdict, **improvement.figures, **losses},
        metrics={
            "n": count,
            "current": scores,
            "baseline": scores,
            "primary_seed": 0,
            "strongest_baseline": "logistic_regression",
        },
        dataset=SimpleNamespace(
            note={"grouped": groups is not None, "group_counts": {"test": groups}}
        ),
    )


def facts(result: Any) -> dict[str, str]:
    return dict(verdict_facts(result).rows)


def test_too_few_groups_say_how_many_are_needed() -> None:
    result = outputs(4)
    assert verdict_line(result).startswith("Too few groups: +1")
    assert verdict_line(result).endswith("; 4 groups, 6 needed")
    stated = facts(result)
    assert stated["Verdict"] == (
        "too few groups, by accuracy (4 groups: no test over groups can reach p below 0.05; at least 6 "
        "are needed)"
    )
    assert "Student's t with 3.0 degrees of freedom" in stated["Gain"]
    assert "Gain by standard error" not in stated
    assert "a bootstrap of 4 groups cannot hold the level" in stated["Gain"]
    assert stated["Test"].endswith("exact sign-flip test over 4 groups: p 0.12")
    assert stated["Smallest detectable gain"].startswith("none with 80% power")


def test_one_group_says_that_nothing_is_known_of_groups() -> None:
    stated = facts(outputs(1))
    assert "1 group: no test" in stated["Verdict"]
    assert "-100.0 to +100.0 points (one group has no interval)" in stated["Gain"]
    assert stated["Design effect"].startswith("unknown")
    assert "Gain by standard error" not in stated


def test_groups_are_named_with_interval_test_and_design_effect() -> None:
    stated = facts(outputs(14))
    assert stated["Verdict"] == "better, by accuracy"
    assert "(bootstrap over 14 groups, 1,000 resamples)" in stated["Gain"]
    assert "exact sign-flip test over 14 groups: p 0.00012" in stated["Test"]
    assert "560 samples of 14 groups say as much as 560 independent ones" in stated["Design effect"]
    assert "new groups" in stated["Scope"]
    assert "Student's t with 13.0 degrees of freedom" in stated["Gain by standard error"]
    assert stated["Log loss"].startswith(
        "lower than the baseline's by 0.150 nats, 95% interval 0.1"
    )


def test_without_groups_nothing_is_said_of_them() -> None:
    stated = facts(outputs(None))
    assert "paired bootstrap" in stated["Gain"]
    assert "exact McNemar test" in stated["Test"]
    assert "group" not in " ".join([*stated, *stated.values()])


def test_equivalent_names_the_margin_and_the_level_of_its_tests() -> None:
    result = outputs(14, fixed=1, margin=0.05)
    assert verdict_line(result).startswith("Equivalent: +2.5 points")
    assert verdict_line(result).endswith(", within 5.0 points")
    assert facts(result)["Verdict"] == (
        "equivalent, by accuracy (the interval lies within plus or minus 5.0 points: two one-sided tests, "
        "each at level 0.025)"
    )


@pytest.mark.parametrize("groups", [None, 4, 14])
def test_nothing_is_said_of_a_single_seed(groups: int | None) -> None:
    result = outputs(groups, seeds=1)
    lines = [verdict_line(result), summary_line(result), *facts(result), *facts(result).values()]
    assert "seed" not in " ".join(lines)
    several = outputs(groups, seeds=2)
    assert "over 2 seeds the gain is" in summary_line(several)
    assert "Over 2 seeds" in facts(several)


def test_a_failure_case_of_a_single_seed_says_nothing_of_seeds() -> None:
    case = {
        "confidence": 0.9,
        "probability_of_true": 0.05,
        "cause": "unlike the training data",
        "change": "broken",
        "baseline": "ant",
        "failure_rate": 1.0,
        "neighbour_labels": "ant | bee",
        "confidently_wrong": False,
    }
    assert "wrong in 3 of 3 runs" in case_lines(case, 3)
    assert "wrong in 1 of 3 runs" in case_lines({**case, "failure_rate": 1 / 3}, 3)
    assert "runs" not in " ".join(case_lines(case, 1))


def test_tests_are_named_in_words() -> None:
    gain = {"test": "permutation over groups", "p": 0.0123, "groups": 8}
    assert significance_line(gain) == "permutation test over 8 groups: p 0.012"
    assert significance_line({"test": "permutation", "p": 1e-6}) == (
        "permutation test: p at most 0.000001"
    )


def test_a_calibration_error_stands_beside_chance() -> None:
    scores = {"calibration_error": 0.07, "calibration_error_chance": 0.033}
    assert calibration_line(scores) == "0.070 (above the 0.033 that chance alone gives)"
    scores["calibration_error"] = 0.03
    assert calibration_line(scores) == "0.030 (not above the 0.033 that chance alone gives)"
