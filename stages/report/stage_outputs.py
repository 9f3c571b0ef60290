"""The outputs of the stages before the pack, loaded once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from stages.core.files import read_csv
from stages.datasets.dataset import Dataset, read_dataset
from stages.report.artifacts import Artifact

if TYPE_CHECKING:
    from stages.core.task import Task


@dataclass(frozen=True)
class StageOutputs:
    """What the stages wrote for a task of any kind; a field for each artifact in `COMMON`."""

    task: "Task"
    dataset: Dataset
    checks: list[dict[str, Any]]
    shapes: pd.DataFrame
    baseline: dict[str, Any]
    log: pd.DataFrame
    checkpoints: dict[str, Any]
    diagnostics: list[dict[str, Any]]
    metrics: dict[str, Any]
    data_warnings: list[dict[str, Any]]
    cases: pd.DataFrame
    successes: pd.DataFrame
    summary: dict[str, Any]
    next_step: dict[str, Any]

    @property
    def run_command(self) -> str:
        """Return the exact command that reproduces the result."""
        return f"dvc repro pack@{self.task.name}"

    @property
    def gain(self) -> dict[str, Any]:
        """Return the figures of the improvement over the baseline."""
        improvement: dict[str, Any] = self.metrics["current"]["improvement"]
        return improvement


@dataclass(frozen=True)
class ClassificationOutputs(StageOutputs):
    """What the stages wrote for a classifier; a field for each artifact in `CLASSIFICATION`."""

    per_class: pd.DataFrame
    confusion: pd.DataFrame
    slices: pd.DataFrame
    predictions: pd.DataFrame
    baseline_predictions: pd.DataFrame
    validation_predictions: pd.DataFrame

    def reliability_curves(self) -> dict[str, pd.DataFrame]:
        """Return the reliability curve of the model and of the strongest baseline, by name."""
        folder = self.task.folder("evaluate")
        return {
            "model": read_csv(folder / "plots" / "reliability.csv"),
            self.metrics["strongest_baseline"]: read_csv(
                folder / "baseline_plots" / "reliability.csv"
            ),
        }


Outputs = TypeVar("Outputs", bound=StageOutputs)


def load_outputs(task: "Task", form: type[Outputs], artifacts: Sequence[Artifact]) -> Outputs:
    """Return the outputs of the stages before the pack.

    Args:
        task: whose stages have run.
        form: the class to return; it has a field for each of `artifacts`.
        artifacts: the files to load.

    Raises:
        UserError: a file is missing or damaged.
    """
    fields = {artifact.name: artifact.load(artifact.path(task)) for artifact in artifacts}
    return form(task=task, dataset=read_dataset(task), **fields)
