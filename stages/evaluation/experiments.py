"""Comparing two runs of a task on validation data: what `evidence experiment` decides by."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_csv

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from stages.core.schema import EvaluateClassifier
    from stages.core.task import Task

VALIDATION_PREDICTIONS = "validation_predictions.csv"
_RESAMPLES_PER_LEVEL = 20


@dataclass(frozen=True)
class ExperimentResult:
    """Validation results before and after a change, in words, the verdict, and the p value behind it.

    Each kind has a module `experiment` with `COMPARABLE` (beside `train.`, the prefixes of params whose
    change leaves validation results comparable), `RESULTS` (the file of the pack that is compared) and
    `compare(before: Path, after: Path, task: Task) -> ExperimentResult`, which decides at the level
    1 - `evaluate.confidence`. The p value is None where nothing could be tested.
    """

    before: str
    after: str
    verdict: str
    p: float | None


def compare_classifiers(before: "Path", after: "Path", task: "Task") -> ExperimentResult:
    """Return the verdict on two files of validation predictions, `validation_predictions.csv`.

    Args:
        before: predictions without the change.
        after: predictions with the change.
        task: its params of the stage evaluate are used.

    Raises:
        UserError: a file is damaged, or the two hold different samples.
    """
    predictions_before, predictions_after = (
        read_csv(path, dtype={"id": str}) for path in (before, after)
    )
    return compare_runs(predictions_before, predictions_after, task.params.evaluate)


def compare_runs(
    before: "pd.DataFrame", after: "pd.DataFrame", params: "EvaluateClassifier"
) -> ExperimentResult:
    """Return `evaluate.metric` on validation data before and after a change, and the verdict.

    The verdict is that of the paired comparison of the primary seeds' models, by the same metric,
    confirmed seed by seed: "better" requires that every seed gains over the same seed before, "worse"
    that every seed loses.

    Args:
        before: id, group, label, and a column of predicted labels for each seed, the primary seed first.
        after: the same for the same samples.
        params: of the stage evaluate.

    Raises:
        UserError: the samples differ.
    """
    import numpy as np

    from stages.evaluation import metric_significance
    from stages.evaluation.classification_metrics import metric_score
    from stages.evaluation.metric_names import METRICS

    if not before[["id", "label"]].equals(after[["id", "label"]]):
        raise UserError("the validation samples of before and after differ; run dvc repro first")
    labels = before["label"].to_numpy()
    seeds_before, seeds_after = (
        table.filter(regex=r"^seed_").to_numpy().T for table in (before, after)
    )
    classes = 1 + int(max(values.max() for values in (labels, seeds_before, seeds_after)))
    # The smallest p value that can be found by draws, and the ends of intervals, need draws for the level.
    resamples = max(params.resamples, math.ceil(_RESAMPLES_PER_LEVEL / (1 - params.confidence)))
    params = params.model_copy(update={"resamples": resamples})
    groups = after["group"].to_numpy() if "group" in after else None
    improvement = metric_significance.compare_predictions(
        labels, seeds_before[0], seeds_after, classes, params, groups
    )
    scores_before, scores_after = (
        np.array([metric_score(params.metric, labels, seed, classes) for seed in seeds])
        for seeds in (seeds_before, seeds_after)
    )
    gains = scores_after - scores_before
    confirmed = {"better": gains.min() > 0, "worse": gains.max() < 0}
    verdict = improvement.verdict
    if not confirmed.get(verdict, True):
        verdict = "not distinguishable"
    text_before, text_after = (
        f"{METRICS[params.metric]} {scores[0]:.4f} (n {len(labels)})"
        for scores in (scores_before, scores_after)
    )
    return ExperimentResult(text_before, text_after, verdict, improvement.figures["p"])
