"""What the stages before the pack have left for a classifier, read once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.shared.dataset import Dataset, read_dataset
from stages.shared.files import read_csv, read_json

if TYPE_CHECKING:
    from stages.shared.task import Task

TEXT_COLUMNS = (
    "id",
    "group",
    "true",
    "predicted",
    "baseline",
    "bucket",
    "cause",
    "neighbours",
    "neighbour_labels",
    "neighbour_rows",
    "text",
)


@dataclass(frozen=True)
class Findings:
    """All that the stages before left for one task, read once."""

    task: "Task"
    dataset: Dataset
    checks: list[dict[str, Any]]
    shapes: pd.DataFrame
    baseline: dict[str, Any]
    log: pd.DataFrame
    chosen: dict[str, Any]
    machine: dict[str, Any]
    metrics: dict[str, Any]
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame
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
        found: dict[str, Any] = self.metrics["current"]["improvement"]
        return found


def gather(task: "Task") -> Findings:
    """Return what the stages before left.

    Raises:
        Refusal: something is missing or damaged.
    """
    text = dict.fromkeys(TEXT_COLUMNS, str)
    check, baseline, train, evaluate, failures = (
        task.folder(stage) for stage in ("check", "baseline", "train", "evaluate", "failures")
    )
    return Findings(
        task,
        read_dataset(task.folder("prepare")),
        read_json(check / "checks.json"),
        read_csv(check / "shapes.csv"),
        read_json(baseline / "baseline.json"),
        read_csv(train / "log.csv"),
        read_json(train / "chosen.json"),
        read_json(train / "machine.json"),
        read_json(evaluate / "metrics.json"),
        read_csv(evaluate / "per_class.csv", dtype={"class": str}),
        read_csv(evaluate / "confusion.csv", dtype={"true / predicted": str}),
        read_csv(evaluate / "predictions.csv", dtype={"id": str, "group": str, "bucket": str}),
        read_csv(failures / "cases.csv", dtype=text),
        read_csv(failures / "successes.csv", dtype=text),
        read_json(failures / "summary.json"),
        read_json(failures / "next_step.json"),
    )
