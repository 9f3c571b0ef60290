"""Recompute the evaluation from the files of the pack, for `evidence verify`.

Fréchet distances, and what the bootstrap computed from them, stay as the pack has them: they need
the samples' features, which are not in git. The rest follows from the samples' table and the review.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy.stats import norm

from stages.kinds.image_generation.artifacts import artifacts
from stages.kinds.image_generation.checkpoint_review import (
    REVIEW_COLUMNS,
    CheckpointReview,
    baseline_plot_tables,
    method_name,
    plot_tables,
    review_checkpoints,
)
from stages.kinds.image_generation.distance_verdict import gain_figures, with_intervals
from stages.report.recompute import Recomputation

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.kinds.image_generation.schema import EvaluateFlow

PRECISION = 5e-6  # of figures that are computed from figures with six digits
_LAST_DIGIT = 1e-6


def recompute(task: "Task", dataset: "Dataset") -> Recomputation:  # noqa: ARG001 (as every kind)
    """Return metrics, review and plots, computed again from the pack of a task.

    Args:
        task: whose pack is read.
        dataset: the prepared samples.

    Raises:
        UserError: a file of the pack is missing or damaged.
    """
    pack = {
        artifact.name: artifact.load(artifact.pack_path(task))
        for artifact in artifacts(task)
        if artifact.name in {"metrics", "samples", "review", "log"}
    }
    metrics, params = pack["metrics"], task.params.evaluate
    review = recompute_review(metrics, pack["review"], params)
    again = recompute_metrics(metrics, pack["samples"], pack["review"], review, params)
    log = pack["log"]
    plots = plot_tables(log[log["seed"] == metrics["primary_seed"]], review.table)
    baseline = _row(pack["review"], again["strongest_baseline"])
    return Recomputation(
        again,
        {"review": _with_review(pack["review"], review)},
        plots,
        baseline_plot_tables(plots, baseline),
        PRECISION,
    )


def recompute_review(
    metrics: dict[str, Any], table: pd.DataFrame, params: "EvaluateFlow"
) -> CheckpointReview:
    """Return the review of the checkpoints, computed again from their metrics.

    Args:
        metrics: of the pack; of them "ceiling" and "n_validation".
        table: the review of the pack.
        params: of the stage evaluate.
    """
    steps = [int(float(step)) for step in table.loc[_reviewed(table), "step"]]
    results = {step: _row(table, method_name(step)) for step in steps}
    real = _row(table, metrics["ceiling"])
    return review_checkpoints(results, real, metrics["n_validation"], params)


def recompute_metrics(
    metrics: dict[str, Any],
    samples: pd.DataFrame,
    table: pd.DataFrame,
    review: CheckpointReview,
    params: "EvaluateFlow",
) -> dict[str, Any]:
    """Return the metrics, with all that follows from the tables computed again.

    Args:
        metrics: of the pack.
        samples: of the pack.
        table: the review of the pack.
        review: computed again.
        params: of the stage evaluate.
    """
    distances = {name: _row(table, name)["frechet_validation"] for name in metrics["baselines"]}
    strongest = min(distances, key=lambda name: distances[name])
    current = _sample_metrics(metrics, samples)
    baseline, first_seed = metrics["baselines"][strongest], str(params.sampling_seeds[0])

    def extended(plain: dict[str, float]) -> dict[str, Any]:
        return with_intervals(plain, metrics["n"], metrics["n_test"], params.confidence)

    improvement = {
        **metrics["current"]["improvement"],
        **_gain_figures(metrics, current["frechet_test"], baseline["frechet_test"], params),
    }
    distance = _row(table, review.method)["frechet_validation"]
    selection = metrics["selection"]
    return {
        **metrics,
        "current": {**extended(current), "step": review.step, "improvement": improvement},
        "baseline": extended(baseline),
        "sampling_seeds": {**metrics["sampling_seeds"], first_seed: current},
        "strongest_baseline": strongest,
        "selection": {
            **selection,
            "step": review.step,
            "rule_satisfied": review.rule_satisfied,
            "frechet_validation": {**selection["frechet_validation"], first_seed: distance},
        },
    }


def _sample_metrics(metrics: dict[str, Any], samples: pd.DataFrame) -> dict[str, float]:
    """Return the current metrics without intervals; of the samples' table, label agreement and copies."""
    plain = {
        name: value
        for name, value in metrics["current"].items()
        if name not in {"step", "improvement"} and not name.endswith(("_low", "_high"))
    }
    plain["label_agreement"] = float((samples["label"] == samples["predicted"]).mean())
    # A distance in the table may lie on the other side of the limit by its last digit.
    distances, limit = samples["nearest_distance"].to_numpy(), metrics["copy_distance_test"]
    lowest, highest = ((distances < limit + digit).mean() for digit in (-_LAST_DIGIT, _LAST_DIGIT))
    if not lowest <= plain["copy_rate"] <= highest:
        plain["copy_rate"] = float((distances < limit).mean())
    return plain


def _gain_figures(
    metrics: dict[str, Any], distance: float, baseline_distance: float, params: "EvaluateFlow"
) -> dict[str, Any]:
    """Return the gain, interval and verdict, with the pack's standard error and gains by seed."""
    stated = metrics["current"]["improvement"]
    z = norm.isf((1 - params.confidence) / 2)
    error = (stated["gain_high"] - stated["gain_low"]) / (2 * z)
    seed_range = (stated["seed_gain_min"], stated["seed_gain_max"])
    figures = gain_figures(distance, baseline_distance, error, seed_range, params)
    return {**figures, "seeds": len(params.sampling_seeds)}


def _reviewed(table: pd.DataFrame) -> "pd.Series[bool]":
    """Return which rows are of checkpoints."""
    return table["status"] != ""


def _row(table: pd.DataFrame, method: str) -> dict[str, float]:
    """Return the metrics of one method."""
    row = table[table["method"] == method].iloc[0]
    names = [name for name in map(str, table) if name not in {"method", "step", *REVIEW_COLUMNS}]
    return {name: float(row[name]) for name in names}


def _with_review(table: pd.DataFrame, review: CheckpointReview) -> pd.DataFrame:
    """Return the review of the pack, its statuses, reasons and notes replaced."""
    replaced, columns = table.copy(), list(REVIEW_COLUMNS)
    replaced.loc[_reviewed(table), columns] = review.table[columns].to_numpy()
    return replaced
