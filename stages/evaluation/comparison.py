"""A classifier beside its baselines on the same test samples: predictions, scores, verdict, plots."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.datasets.dataset import Dataset
from stages.evaluation import classification_metrics
from stages.evaluation.classification_metrics import Predictions, metric_score
from stages.evaluation.folds import fold_numbers, run_log, strongest_name
from stages.evaluation.prediction_tables import PredictionTables
from stages.evaluation.scoring import improvement_figures, method_scores
from stages.evaluation.slices import slice_metrics

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier
    from stages.core.task import Task


@dataclass(frozen=True)
class ClassificationMetrics:
    """All figures that follow from the prediction tables in the pack.

    Attributes:
        metrics: scores of "current", "baseline" and every method, and the improvement.
        tables: per_class, confusion and slices of the primary seed's model.
        plots: the tables that `dvc plots` draws, of the current model.
        baseline_plots: the same of the baseline.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame]


ComputeMetrics = Callable[
    ["Task", Dataset, PredictionTables, dict[str, Any], pd.DataFrame], ClassificationMetrics
]


def compute_metrics(
    task: "Task",
    dataset: Dataset,
    predictions: PredictionTables,
    baseline: dict[str, Any],
    log: pd.DataFrame,
    slices: Mapping[str, np.ndarray] | None = None,
) -> ClassificationMetrics:
    """Return the figures of a classifier's predictions, beside those of the baselines.

    Args:
        task: its params of the stage evaluate are used.
        dataset: the prepared samples; the classes' names are used.
        predictions: for the test samples.
        baseline: the summary of the stage baseline: "methods" (the simplest first), "strongest",
            "validation", "training_log_loss".
        log: the training log: seed, epoch, train_loss, validation_loss, ...
        slices: the values of further slices than the classes, by column, (n,) each.
    """
    params: EvaluateClassifier = task.params.evaluate
    labels, names, seeds = predictions.labels(), dataset.classes, predictions.by_seed()
    primary, *_ = seeds
    model, simple = predictions.of_model(), predictions.of_strongest()
    predicted = np.stack(list(seeds.values()))
    groups = predictions.predictions["group"].to_numpy()
    baselines = {
        name: method_scores(predictions.of_baseline(name), labels, len(names), params, groups)
        for name in baseline["methods"]
    }
    metrics = {
        "current": {
            **method_scores(model, labels, len(names), params, groups),
            "improvement": improvement_figures(
                labels, simple, model, predicted, len(names), params, groups
            ),
        },
        "baseline": method_scores(simple, labels, len(names), params, groups),
        "baselines": baselines,
        "seeds": {
            str(seed): {
                metric: metric_score(metric, labels, values, len(names))
                for metric in {"accuracy": None, params.metric: None}
            }
            for seed, values in seeds.items()
        },
        "n": len(labels),
        "primary_seed": primary,
        "strongest_baseline": strongest_name(baseline),
    }
    if dataset.folds > 1:
        metrics["folds"] = _fold_metrics(predictions, baseline)
    fold = 0 if dataset.folds > 1 else None
    loss, baseline_loss = _loss_tables(run_log(log, fold, primary), baseline)
    by_slice = _slice_table(predictions, names, slices or {}, params.confidence)
    return ClassificationMetrics(
        metrics,
        {**_class_tables(model, simple, labels, names), "slices": by_slice},
        plot_tables(model, labels, names, params.bins, loss),
        plot_tables(simple, labels, names, params.bins, baseline_loss),
    )


def _loss_tables(
    log: pd.DataFrame, baseline: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the losses by epoch of the primary run, and those of the baseline, which has no epochs."""
    loss = log[["epoch", "train_loss", "validation_loss"]].reset_index(drop=True)
    strongest = baseline["strongest"]
    return loss, loss.assign(
        train_loss=baseline["training_log_loss"][strongest],
        validation_loss=baseline["validation"][strongest]["log_loss"],
    )


def _fold_metrics(
    predictions: PredictionTables, baseline: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return by fold the number of samples, the accuracy of model and baseline, and the baseline's name."""
    folds, labels = fold_numbers(predictions.predictions), predictions.labels()
    correct = predictions.of_model().predicted == labels
    simple = predictions.of_strongest().predicted == labels
    return {
        str(fold): {
            "n": int((folds == fold).sum()),
            "accuracy": float(correct[folds == fold].mean()),
            "baseline_accuracy": float(simple[folds == fold].mean()),
            "strongest_baseline": summary["strongest"],
        }
        for fold, summary in enumerate(baseline["folds"])
    }


def _class_tables(
    model: Predictions, baseline: Predictions, labels: np.ndarray, names: list[str]
) -> dict[str, pd.DataFrame]:
    """Return the scores by class, beside the baseline's F1, and the confusion matrix."""
    counts, baseline_counts = (
        classification_metrics.confusion_counts(labels, method.predicted, len(names))
        for method in (model, baseline)
    )
    table = classification_metrics.per_class_scores(counts, names)
    table["baseline_f1"] = classification_metrics.per_class_scores(baseline_counts, names)["f1"]
    matrix = pd.DataFrame(counts, columns=pd.Index(names))
    matrix.insert(0, "true / predicted", names)
    return {"per_class": table, "confusion": matrix}


def _slice_table(
    predictions: PredictionTables,
    names: list[str],
    slices: Mapping[str, np.ndarray],
    confidence: float,
) -> pd.DataFrame:
    """Return the scores of model and strongest baseline by class and by further slices."""
    labels = predictions.labels()
    return slice_metrics(
        {"class": np.array(names, dtype=object)[labels], **slices},
        predictions.of_model().predicted == labels,
        predictions.of_strongest().predicted == labels,
        predictions.predictions["group"].to_numpy(),
        confidence,
    )


def plot_tables(
    predictions: Predictions, labels: np.ndarray, names: list[str], bins: int, loss: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return the tables that `dvc plots` draws, by the name of their plot."""
    classes = np.array([_inert(name) for name in names], dtype=object)
    confusion = {"actual": classes[labels], "predicted": classes[predictions.predicted]}
    return {
        "loss": loss,
        "confusion": pd.DataFrame(confusion),
        "reliability": classification_metrics.reliability_curve(predictions, labels, bins),
    }


def _inert(name: str) -> str:
    """Return a name that reads the same and neither ends nor opens a script element.

    `dvc plots` writes the tables as JSON into a script element of its page and escapes nothing. A blank
    without width behind `<` keeps the name in that JSON.
    """
    return re.sub(r"<(?=/?script|!--)", "<\N{ZERO WIDTH SPACE}", name, flags=re.IGNORECASE)
