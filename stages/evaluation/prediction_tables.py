"""The predictions of a classifier and its baselines for test and validation samples, as tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.evaluation.classification_metrics import Predictions, predictions_from
from stages.evaluation.folds import with_fold

if TYPE_CHECKING:
    from stages.datasets.dataset import Dataset


@dataclass(frozen=True)
class PredictionTables:
    """The predictions of models and baselines, in the digits in which they are written.

    Attributes:
        predictions: a row a test sample: id, row, group, label, baseline, baseline_confidence and
            baseline_loss (of the strongest), confidence and loss (of the primary seed's model), and each
            seed's predicted label (seed_0, ...). With folds, first the fold whose models predict it.
        baselines: a row a test sample: id, label, and for each method M its predicted label ("M"),
            "M: confidence" and "M: loss".
        validation: a row a validation sample: id, group, label, and each seed's predicted label. With
            folds, first the fold.
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

    def of_strongest(self) -> Predictions:
        """Return the predictions of the strongest baseline, in each fold its own."""
        names = ("baseline", "baseline_confidence", "baseline_loss")
        return Predictions(*(self.predictions[name].to_numpy() for name in names))

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


def tabulate_predictions(
    dataset: "Dataset",
    seeds: dict[int, np.ndarray],
    baselines: dict[str, np.ndarray],
    strongest: str,
    validation: pd.DataFrame,
    fold: int | None = None,
) -> PredictionTables:
    """Return the predictions of models and baselines as tables.

    Args:
        dataset: the prepared samples, of the fold.
        seeds: test probabilities (n, classes) by training seed, the primary one first.
        baselines: test probabilities by baseline.
        strongest: the name of the strongest baseline.
        validation: id, label, and each seed's predicted label.
        fold: whose models these are; None without folds.
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
        with_fold(test[["id", "row", "group", "label"]], fold).assign(
            baseline=simple[strongest].predicted,
            baseline_confidence=simple[strongest].confidence,
            baseline_loss=simple[strongest].loss,
            confidence=model.confidence,
            loss=model.loss,
            **{f"seed_{seed}": p.argmax(axis=1) for seed, p in seeds.items()},
        ),
        test[["id", "label"]].assign(**columns),
        validation,
    )


def pool_predictions(parts: Sequence[PredictionTables]) -> tuple[PredictionTables, np.ndarray]:
    """Return the predictions of all folds as one table, in the order of the packed samples.

    Returns:
        The tables, and the indices that put test samples from the order of the folds into that order.
    """
    tables = [pd.concat([part.predictions for part in parts], ignore_index=True)]
    tables.append(pd.concat([part.baselines for part in parts], ignore_index=True))
    validation = pd.concat([part.validation for part in parts], ignore_index=True)
    order = np.argsort(tables[0]["row"].to_numpy(), kind="stable")
    test, baselines = (table.iloc[order].reset_index(drop=True) for table in tables)
    return PredictionTables(test, baselines, validation), order
