"""What a task with folds reports: means of the baselines, and one table of all predictions."""

import numpy as np
import pandas as pd
import pytest

from stages.evaluation.baselines import FittedBaselines
from stages.evaluation.folds import (
    fold_numbers,
    pool_baselines,
    pool_summaries,
    run_log,
    strongest_name,
    with_fold,
)
from stages.evaluation.prediction_tables import PredictionTables, pool_predictions


def summary(strongest: str, simple: float, better: float, fitted_on: int) -> dict[str, object]:
    return {
        "strongest": strongest,
        "methods": ["simple", "better"],
        "rule": "highest accuracy",
        "validation": {"simple": {"accuracy": simple}, "better": {"accuracy": better}},
        "training_log_loss": {"simple": 1.0, "better": 0.5},
        "fitted_on": {"simple": fitted_on, "better": fitted_on},
        "converged": True,
        "input": "pixels",
        "border_accuracy": simple / 2,
        "regularisation": {"better": {"chosen": better, "candidates": []}},
    }


SUMMARIES = [
    summary("simple", 0.9, 0.8, 10),
    summary("better", 0.5, 0.7, 13),
    {**summary("better", 0.4, 0.9, 11), "converged": False},
]


def test_the_pooled_summary_has_means_and_every_fold() -> None:
    pooled = pool_summaries(SUMMARIES)
    assert pooled["validation"]["simple"]["accuracy"] == pytest.approx(0.6)
    assert pooled["validation"]["better"]["accuracy"] == pytest.approx(0.8)
    assert pooled["border_accuracy"] == pytest.approx(0.3)
    assert pooled["fitted_on"] == {"simple": 11, "better": 11}
    assert pooled["converged"] is False
    assert pooled["strongest"] == "better"
    assert pooled["folds"] == SUMMARIES
    assert pooled["rule"] == "highest accuracy, in each fold on its own"


def test_of_equally_frequent_winners_the_simpler_one_stands_for_all() -> None:
    assert pool_summaries(SUMMARIES[:2])["strongest"] == "simple"


def test_the_baseline_to_beat_has_a_name_of_its_own_where_folds_disagree() -> None:
    assert strongest_name(SUMMARIES[0]) == "simple"
    assert strongest_name(pool_summaries(SUMMARIES[1:])) == "better"
    assert strongest_name(pool_summaries(SUMMARIES)) == "the strongest baseline of each fold"


def test_extra_tables_are_pooled_with_their_fold() -> None:
    fits = [
        FittedBaselines(
            dict(part), {}, {}, {"log.csv": pd.DataFrame({"epoch": [0, 1]}), "words.txt": "a"}
        )
        for part in SUMMARIES
    ]
    files = pool_baselines(fits)
    assert set(files) == {"baseline.json", "log.csv"}
    log = files["log.csv"]
    assert isinstance(log, pd.DataFrame)
    assert log.to_dict("list") == {"fold": [0, 0, 1, 1, 2, 2], "epoch": [0, 1] * 3}


def part(fold: int, rows: list[int]) -> PredictionTables:
    test = pd.DataFrame({"id": [f"s{row}" for row in rows], "row": rows, "label": 0})
    simple = pd.DataFrame({"id": test["id"], "label": 0, "simple": [row % 2 for row in rows]})
    return PredictionTables(with_fold(test, fold), simple, with_fold(test[["id", "label"]], fold))


def test_pooled_predictions_are_in_the_order_of_the_samples() -> None:
    pooled, order = pool_predictions([part(0, [1, 4]), part(1, [0, 3, 5]), part(2, [2])])
    assert pooled.predictions["row"].tolist() == list(range(6))
    assert pooled.predictions["fold"].tolist() == [1, 0, 2, 1, 0, 1]
    assert pooled.baselines["simple"].tolist() == [0, 1] * 3
    assert np.array([1, 4, 0, 3, 5, 2])[order].tolist() == list(range(6))
    assert pooled.validation["fold"].tolist() == [0, 0, 1, 1, 1, 2]
    assert fold_numbers(pooled.predictions).tolist() == [1, 0, 2, 1, 0, 1]


def test_without_folds_tables_stay_as_they_are() -> None:
    table = pd.DataFrame({"seed": [0, 1]})
    assert with_fold(table, None) is table
    assert fold_numbers(table).tolist() == [0, 0]
    assert run_log(table, None, 1)["seed"].tolist() == [1]
    folds = pd.DataFrame({"fold": [0, 1, 1], "seed": [0, 0, 1]})
    assert run_log(folds, 1, 0).index.tolist() == [1]
