"""Evaluating a classifier: the predictions of each run's model for the test data of its fold."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.core.files import read_arrays, read_csv, read_json
from stages.datasets.dataset import Dataset, read_dataset
from stages.evaluation.comparison import ClassificationMetrics, ComputeMetrics, compute_metrics
from stages.evaluation.data_warnings import (
    label_noise,
    mean_cross_entropy,
    require_logged_loss,
    unrecognised_classes,
    warning_rows,
)
from stages.evaluation.folds import features_key, run_log, with_fold
from stages.evaluation.prediction_tables import (
    PredictionTables,
    pool_predictions,
    tabulate_predictions,
)
from stages.training.diagnostics import Diagnostic

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.task import Task

EmbedSplit = Callable[[str], np.ndarray]  # split -> features (n, width)
PredictFeatures = Callable[[np.ndarray], np.ndarray]  # features -> probabilities (n, classes)
LoadModel = Callable[["Task", Dataset, int], tuple[EmbedSplit, PredictFeatures]]


@dataclass(frozen=True)
class ClassifierEvaluation:
    """The predictions for the test data, and all figures that follow from them.

    Attributes:
        predictions: the tables that all figures are computed from.
        probabilities: by seed, (n, classes) each, the primary seed first.
        features: of the samples of each split, (n, width) each, by the primary seed's model; with folds
            of each fold, as `features_key` names them.
        figures: the metrics, tables and plots.
        warnings: what is suspicious about the data, though the result stands.
    """

    predictions: PredictionTables
    probabilities: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    figures: ClassificationMetrics
    warnings: list[Diagnostic] = field(default_factory=list)

    def files(self) -> "dict[str, Content]":
        """Return the files that the stage writes into its folder."""
        tables = {**self.predictions.tables(), **self.figures.tables}
        plots = {"plots": self.figures.plots, "baseline_plots": self.figures.baseline_plots}
        return {
            "probabilities.safetensors": self.probabilities,
            "features.safetensors": self.features,
            "metrics.json": self.figures.metrics,
            "data_warnings.json": warning_rows(self.warnings),
            **{f"{name}.csv": table for name, table in tables.items()},
            **{
                f"{folder}/{name}.csv": table
                for folder, plot_tables in plots.items()
                for name, table in plot_tables.items()
            },
        }


@dataclass(frozen=True)
class _FoldEvaluation:
    """The predictions of the models of one fold, or of a task without folds."""

    predictions: PredictionTables
    probabilities: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    warnings: list[Diagnostic]


def evaluate_classifier(
    task: "Task", load: LoadModel, compute: ComputeMetrics = compute_metrics
) -> ClassifierEvaluation:
    """Return the predictions of all models for the test samples, beside the baseline's.

    Args:
        task: whose earlier stages have run.
        load: (task or fold, its dataset, seed) -> how that model embeds a split's samples (n, width), and
            the probabilities (n, classes) that its head gives to such features.
        compute: the figures of the predictions; a kind may compute more than `compute_metrics`.

    Raises:
        UserError: stored weights do not give the validation loss by which training selected them.
    """
    dataset = read_dataset(task)
    log = read_csv(task.folder("train") / "log.csv")
    parts = [_evaluate_fold(fold, read_dataset(fold), load, log) for fold in task.folds()]
    predictions, order = pool_predictions([part.predictions for part in parts])
    warnings = [warning for part in parts for warning in part.warnings]
    warnings += unrecognised_classes(predictions.validation, dataset.classes)
    baseline = read_json(task.folder("baseline") / "baseline.json")
    return ClassifierEvaluation(
        predictions,
        {
            name: np.concatenate([part.probabilities[name] for part in parts])[order]
            for name in parts[0].probabilities
        },
        {name: array for part in parts for name, array in part.features.items()},
        compute(task, dataset, predictions, baseline, log),
        warnings,
    )


def _evaluate_fold(
    fold: "Task", dataset: Dataset, load: LoadModel, log: pd.DataFrame
) -> _FoldEvaluation:
    seeds: dict[int, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    warnings: list[Diagnostic] = []
    task = replace(fold, fold=None)
    epochs = read_json(task.folder("train") / "checkpoints.json")["epoch"]
    validation = with_fold(dataset.part("validation")[["id", "group", "label"]], fold.fold)
    validation_labels = dataset.labels("validation")
    weights = dataset.class_weights(fold.params.train.class_weights)
    for seed in fold.params.train.seeds:
        embed, predict = load(fold, dataset, seed)
        validation_features = embed("validation")
        probabilities = predict(validation_features)
        validation[f"seed_{seed}"] = probabilities.argmax(axis=1)
        loss = mean_cross_entropy(probabilities, validation_labels, weights)
        name = fold.run_name(seed)
        require_logged_loss(
            loss, run_log(log, fold.fold, seed), epochs[name], fold.runtime.precision
        )
        test_features = embed("test")
        seeds[seed] = predict(test_features)
        if not features:
            features = {
                "train": embed("train"),
                "validation": validation_features,
                "test": test_features,
            }
            warnings = label_noise(
                predict(features["train"]),
                dataset.labels("train"),
                probabilities,
                validation_labels,
            )
    baseline = read_json(fold.folder("baseline") / "baseline.json")
    baselines = read_arrays(fold.folder("baseline") / "test.safetensors")
    return _FoldEvaluation(
        tabulate_predictions(
            dataset, seeds, baselines, baseline["strongest"], validation, fold.fold
        ),
        {f"seed_{seed}": probabilities for seed, probabilities in seeds.items()},
        {features_key(split, fold.fold): array for split, array in features.items()},
        warnings,
    )
