"""Comparing two runs of a task on validation data: what `evidence experiment` decides by."""

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
LOG = "experiments.csv"  # in an evidence folder; the pipeline does not write it


@dataclass(frozen=True)
class ExperimentResult:
    """Validation results before and after a change, in words, and the verdict.

    Each kind has a module `experiment` with `COMPARABLE` (beside `train.`, the prefixes of params whose
    change leaves validation results comparable), `RESULTS` (the file of the pack that is compared) and
    `compare(before: Path, after: Path, task: Task) -> ExperimentResult`.
    """

    before: str
    after: str
    verdict: str


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
    return compare_predictions(predictions_before, predictions_after, task.params.evaluate)


def compare_predictions(
    before: "pd.DataFrame", after: "pd.DataFrame", params: "EvaluateClassifier"
) -> ExperimentResult:
    """Return validation accuracy before and after a change, and the verdict.

    The verdict is that of the paired comparison of the primary seeds' models (`compare_to_baseline`),
    confirmed seed by seed: "better" requires that every seed gains over the same seed before, "worse"
    that every seed loses.

    Args:
        before: id, label, and a column of predicted labels for each seed, the primary seed first.
        after: the same for the same samples.
        params: of the stage evaluate.

    Raises:
        UserError: the samples differ.
    """
    from stages.evaluation.significance import compare_to_baseline

    if not before[["id", "label"]].equals(after[["id", "label"]]):
        raise UserError("the validation samples of before and after differ; run dvc repro first")
    labels = before["label"].to_numpy()
    correct_before, correct_after = (
        labels == table.filter(regex=r"^seed_").to_numpy().T for table in (before, after)
    )
    improvement = compare_to_baseline(correct_before[0], correct_after, params)
    gains = correct_after.mean(axis=1) - correct_before.mean(axis=1)
    confirmed = {"better": gains.min() > 0, "worse": gains.max() < 0}
    verdict = improvement.verdict
    if not confirmed.get(verdict, True):
        verdict = "not distinguishable"
    accuracy_before, accuracy_after = (
        f"accuracy {correct[0].mean():.4f} (n {len(labels)})"
        for correct in (correct_before, correct_after)
    )
    return ExperimentResult(accuracy_before, accuracy_after, verdict)
