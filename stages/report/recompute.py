"""Recomputing an evaluation from the files of the pack alone: what `evidence verify` compares with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.errors import UserError
from stages.datasets.dataset import read_dataset
from stages.evaluation.folds import fold_numbers, with_fold

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.evaluation.comparison import ComputeMetrics
    from stages.evaluation.prediction_tables import PredictionTables
    from stages.report.artifacts import Artifact

_SAMPLE_COLUMNS = ["fold", "id", "row", "group", "label"]


@dataclass(frozen=True)
class Recomputation:
    """The results of the stage evaluate, computed again from the pack.

    Each kind has a module `recompute` with a function `recompute(task, dataset) -> Recomputation`.

    Attributes:
        metrics: as in metrics.json, not rounded.
        tables: by the name of their artifact.
        plots: the tables that `dvc plots` draws, of the current model, by name.
        baseline_plots: the same of the baseline, as far as the pack has them.
        precision: by how much figures may differ, where they are computed from rounded ones.
    """

    metrics: dict[str, Any]
    tables: dict[str, pd.DataFrame]
    plots: dict[str, pd.DataFrame]
    baseline_plots: dict[str, pd.DataFrame] = field(default_factory=dict)
    precision: float = 0.0


def load_packed(task: "Task") -> dict[str, Any]:
    """Return the files of a task's pack by the name of their artifact.

    Raises:
        UserError: a file is missing or damaged.
    """
    artifacts: tuple[Artifact, ...] = task.module("artifacts").artifacts(task)
    return {artifact.name: artifact.load(artifact.pack_path(task)) for artifact in artifacts}


def recompute_classifier(
    task: "Task", dataset: "Dataset", compute: "ComputeMetrics"
) -> Recomputation:
    """Return a classifier's evaluation, computed again from the predictions in its pack.

    The table of predictions is among the results: its columns of the strongest baseline repeat the
    table of the baselines' predictions.

    Args:
        task: whose pack is read.
        dataset: its prepared samples.
        compute: the metrics of the kind.

    Raises:
        UserError: a file is missing or damaged, or predictions are of other samples than those of the
            prepared splits.
    """
    from stages.evaluation.prediction_tables import PredictionTables

    packed = load_packed(task)
    tables = PredictionTables(
        packed["predictions"], packed["baseline_predictions"], packed["validation_predictions"]
    )
    parts = [with_fold(read_dataset(fold).part("validation"), fold.fold) for fold in task.folds()]
    test = dataset.part("test")
    if dataset.folds > 1:
        test = test.assign(fold=dataset.test_folds())
    for name, split, samples in (
        ("predictions", "test", test),
        ("baseline_predictions", "test", test),
        ("validation_predictions", "validation", pd.concat(parts)),
    ):
        _require_samples(name, packed[name], samples, split)
    tables = replace(tables, predictions=_with_strongest(tables, packed["baseline"]))
    results = compute(task, dataset, tables, packed["baseline"], packed["log"])
    return Recomputation(
        results.metrics,
        {**results.tables, "predictions": tables.predictions},
        results.plots,
        results.baseline_plots,
    )


def _with_strongest(tables: "PredictionTables", baseline: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table of predictions with the columns of the strongest baseline, in each fold its own."""
    predictions = tables.predictions
    folds = fold_numbers(predictions)
    for fold, summary in enumerate(baseline.get("folds", [baseline])):
        strongest, of_fold = tables.of_baseline(summary["strongest"]), folds == fold
        predictions = predictions.assign(
            baseline=np.where(of_fold, strongest.predicted, predictions["baseline"]),
            baseline_confidence=np.where(
                of_fold, strongest.confidence, predictions["baseline_confidence"]
            ),
            baseline_loss=np.where(of_fold, strongest.loss, predictions["baseline_loss"]),
        )
    return predictions


def _require_samples(name: str, table: pd.DataFrame, samples: pd.DataFrame, split: str) -> None:
    columns = [column for column in _SAMPLE_COLUMNS if column in table]
    if not {"id", "label"} <= set(columns):
        raise UserError(f"{name}.csv: it has no columns id and label")
    expected = samples[columns].astype(str).to_numpy()
    if len(table) != len(samples) or (table[columns].astype(str).to_numpy() != expected).any():
        raise UserError(
            f"{name}.csv: its {', '.join(columns)} are not those of the prepared {split} split"
        )
