"""Recomputing an evaluation from the files of the pack alone: what `evidence verify` compares with."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.core.errors import UserError

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.evaluation.comparison import ComputeMetrics
    from stages.report.artifacts import Artifact

_SAMPLE_COLUMNS = ["id", "row", "group", "label"]


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
    from stages.evaluation.comparison import PredictionTables

    packed = load_packed(task)
    tables = PredictionTables(
        packed["predictions"], packed["baseline_predictions"], packed["validation_predictions"]
    )
    for name, split in (
        ("predictions", "test"),
        ("baseline_predictions", "test"),
        ("validation_predictions", "validation"),
    ):
        _require_samples(name, packed[name], dataset.part(split), split)
    results = compute(task, dataset, tables, packed["baseline"], packed["log"])
    strongest = tables.of_baseline(packed["baseline"]["strongest"])
    predictions = tables.predictions.assign(
        baseline=strongest.predicted, baseline_confidence=strongest.confidence
    )
    return Recomputation(
        results.metrics,
        {**results.tables, "predictions": predictions},
        results.plots,
        results.baseline_plots,
    )


def _require_samples(name: str, table: pd.DataFrame, samples: pd.DataFrame, split: str) -> None:
    columns = [column for column in _SAMPLE_COLUMNS if column in table]
    if not {"id", "label"} <= set(columns):
        raise UserError(f"{name}.csv: it has no columns id and label")
    expected = samples[columns].astype(str).to_numpy()
    if len(table) != len(samples) or (table[columns].astype(str).to_numpy() != expected).any():
        raise UserError(
            f"{name}.csv: its {', '.join(columns)} are not those of the prepared {split} split"
        )
