"""A classifier beside its baselines on the same test samples: predictions, scores, verdict, plots."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.files import read_arrays, read_csv, read_json
from stages.datasets.dataset import Dataset
from stages.evaluation import classification_metrics
from stages.evaluation.classification_metrics import Predictions, metric_score, predictions_from
from stages.evaluation.data_warnings import (
    label_noise,
    mean_cross_entropy,
    require_logged_loss,
    unrecognised_classes,
    warning_rows,
)
from stages.evaluation.scoring import improvement_figures, method_scores
from stages.training.diagnostics import Diagnostic

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.schema import EvaluateClassifier
    from stages.core.task import Task

EmbedSplit = Callable[[str], np.ndarray]  # split -> features (n, width)
PredictFeatures = Callable[[np.ndarray], np.ndarray]  # features -> probabilities (n, classes)


@dataclass(frozen=True)
class ClassificationMetrics:
    """All figures that follow from the prediction tables in the pack.

    Attributes:
        metrics: scores of "current", "baseline" and every method, and the improvement.
        tables: per_class and confusion of the primary seed's model.
        plots: the tables that `dvc plots` draws, of the current model.
        baseline_plots: the same of the baseline.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class PredictionTables:
    """The predictions of models and baselines, in the digits in which they are written.

    Attributes:
        predictions: a row a test sample: id, row, group, label, baseline and baseline_confidence (of
            the strongest), confidence and loss (of the primary seed's model), and each seed's
            predicted label (seed_0, ...).
        baselines: a row a test sample: id, label, and for each method M its predicted label ("M"),
            "M: confidence" and "M: loss".
        validation: a row a validation sample: id, label, and each seed's predicted label.
    """

    predictions: pd.DataFrame
    baselines: pd.DataFrame
    validation: pd.DataFrame

    def by_seed(self) -> dict[int, np.ndarray]:
        """Return each seed's predicted labels of the test samples, the primary seed first."""
        columns = self.predictions.filter(regex=r"^seed_\d+$")
        return {int(str(name)[5:]): column.to_numpy() for name, column in columns.items()}

    def of_model(self) -> Predictions:
        """Return the predictions of the primary seed's model."""
        table = self.predictions
        predicted = next(iter(self.by_seed().values()))
        return Predictions(predicted, table["confidence"].to_numpy(), table["loss"].to_numpy())

    def of_baseline(self, method: str) -> Predictions:
        """Return the predictions of a baseline."""
        names = (method, f"{method}: confidence", f"{method}: loss")
        return Predictions(*(self.baselines[name].to_numpy() for name in names))

    def labels(self) -> np.ndarray:
        """Return the true labels of the test samples, (n,)."""
        labels: np.ndarray = self.predictions["label"].to_numpy()
        return labels

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by file name."""
        return {
            "predictions": self.predictions,
            "baseline_predictions": self.baselines,
            "validation_predictions": self.validation,
        }


@dataclass(frozen=True)
class ClassifierEvaluation:
    """The predictions for the test data, and all figures that follow from them.

    Attributes:
        predictions: the tables that all figures are computed from.
        probabilities: by seed, (n, classes) each, the primary seed first.
        features: of "train" and "test" samples, (n, width) each, by the primary seed's model.
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


ComputeMetrics = Callable[
    ["Task", Dataset, PredictionTables, dict[str, Any], pd.DataFrame], ClassificationMetrics
]


def compute_metrics(
    task: "Task",
    dataset: Dataset,
    predictions: PredictionTables,
    baseline: dict[str, Any],
    log: pd.DataFrame,
) -> ClassificationMetrics:
    """Return the figures of a classifier's predictions, beside those of the baselines.

    Args:
        task: its params of the stage evaluate are used.
        dataset: the prepared samples; the classes' names are used.
        predictions: for the test samples.
        baseline: the summary of the stage baseline: "methods" (the simplest first), "strongest",
            "validation", "training_log_loss".
        log: the training log: seed, epoch, train_loss, validation_loss, ...
    """
    params: EvaluateClassifier = task.params.evaluate
    labels, names, seeds = predictions.labels(), dataset.classes, predictions.by_seed()
    primary, *_ = seeds
    strongest = baseline["strongest"]
    model, simple = predictions.of_model(), predictions.of_baseline(strongest)
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
        "baseline": baselines[strongest],
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
        "strongest_baseline": strongest,
    }
    loss = log.loc[log["seed"] == primary, ["epoch", "train_loss", "validation_loss"]]
    baseline_loss = loss.assign(
        train_loss=baseline["training_log_loss"][strongest],
        validation_loss=baseline["validation"][strongest]["log_loss"],
    )
    return ClassificationMetrics(
        metrics,
        _class_tables(model, simple, labels, names),
        _plots(model, labels, names, params.bins, loss.reset_index(drop=True)),
        _plots(simple, labels, names, params.bins, baseline_loss.reset_index(drop=True)),
    )


def evaluate_classifier(
    task: "Task",
    dataset: Dataset,
    load: Callable[[int], tuple[EmbedSplit, PredictFeatures]],
    compute: ComputeMetrics = compute_metrics,
) -> ClassifierEvaluation:
    """Return the predictions of all seeds' models for the test samples, beside the baseline's.

    Args:
        task: whose earlier stages have run.
        dataset: the prepared samples.
        load: seed -> how its model embeds a split's samples (n, width), and the probabilities
            (n, classes) that its head gives to such features.
        compute: the figures of the predictions; a kind may compute more than `compute_metrics`.

    Raises:
        UserError: stored weights do not give the validation loss by which training selected them.
    """
    seeds: dict[int, np.ndarray] = {}
    features: dict[str, np.ndarray] = {}
    warnings: list[Diagnostic] = []
    log = read_csv(task.folder("train") / "log.csv")
    epochs = read_json(task.folder("train") / "checkpoints.json")["epoch"]
    validation = dataset.part("validation")[["id", "label"]].copy()
    validation_labels = dataset.labels("validation")
    weights = dataset.class_weights(task.params.train.class_weights)
    for seed in task.params.train.seeds:
        embed, predict = load(seed)
        probabilities = predict(embed("validation"))
        validation[f"seed_{seed}"] = probabilities.argmax(axis=1)
        loss = mean_cross_entropy(probabilities, validation_labels, weights)
        seed_log = log[log["seed"] == seed]
        require_logged_loss(loss, seed_log, epochs[str(seed)], task.runtime.precision)
        test_features = embed("test")
        seeds[seed] = predict(test_features)
        if not features:
            features = {"train": embed("train"), "test": test_features}
            warnings = label_noise(
                predict(features["train"]),
                dataset.labels("train"),
                probabilities,
                validation_labels,
            )
    warnings += unrecognised_classes(validation, dataset.classes)
    baseline = read_json(task.folder("baseline") / "baseline.json")
    baselines = read_arrays(task.folder("baseline") / "test.safetensors")
    predictions = tabulate_predictions(dataset, seeds, baselines, baseline["strongest"], validation)
    return ClassifierEvaluation(
        predictions,
        {f"seed_{seed}": probabilities for seed, probabilities in seeds.items()},
        features,
        compute(task, dataset, predictions, baseline, log),
        warnings,
    )


def tabulate_predictions(
    dataset: Dataset,
    seeds: dict[int, np.ndarray],
    baselines: dict[str, np.ndarray],
    strongest: str,
    validation: pd.DataFrame,
) -> PredictionTables:
    """Return the predictions of models and baselines as tables.

    Args:
        dataset: the prepared samples.
        seeds: test probabilities (n, classes) by training seed, the primary one first.
        baselines: test probabilities by baseline.
        strongest: the name of the strongest baseline.
        validation: id, label, and each seed's predicted label.
    """
    test, labels = dataset.part("test"), dataset.labels("test")
    simple = {name: predictions_from(p, labels) for name, p in sorted(baselines.items())}
    model = predictions_from(next(iter(seeds.values())), labels)
    columns: dict[str, np.ndarray] = {}
    for name, predictions in simple.items():
        columns |= {
            name: predictions.predicted,
            f"{name}: confidence": predictions.confidence,
            f"{name}: loss": predictions.loss,
        }
    return PredictionTables(
        test[["id", "row", "group", "label"]].assign(
            baseline=simple[strongest].predicted,
            baseline_confidence=simple[strongest].confidence,
            confidence=model.confidence,
            loss=model.loss,
            **{f"seed_{seed}": p.argmax(axis=1) for seed, p in seeds.items()},
        ),
        test[["id", "label"]].assign(**columns),
        validation,
    )


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


def _plots(
    predictions: Predictions, labels: np.ndarray, names: list[str], bins: int, loss: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    classes = np.array(names, dtype=object)
    confusion = {"actual": classes[labels], "predicted": classes[predictions.predicted]}
    return {
        "loss": loss,
        "confusion": pd.DataFrame(confusion),
        "reliability": classification_metrics.reliability_curve(predictions, labels, bins),
    }
