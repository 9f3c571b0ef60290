"""What the stages before the pack have left, read once."""

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
    "neighbour",
    "neighbours",
    "neighbour_labels",
    "neighbour_rows",
    "text",
)


@dataclass(frozen=True)
class Left:
    """What the stages before left for any task."""

    task: "Task"
    dataset: Dataset
    checks: list[dict[str, Any]]
    shapes: pd.DataFrame
    baseline: dict[str, Any]
    log: pd.DataFrame
    chosen: dict[str, Any]
    troubles: list[dict[str, Any]]
    alarms: list[dict[str, Any]]
    machine: dict[str, Any]
    metrics: dict[str, Any]
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


@dataclass(frozen=True)
class Findings(Left):
    """What they left for a classifier."""

    per_class: pd.DataFrame
    confusion: pd.DataFrame
    predictions: pd.DataFrame
    baselines: pd.DataFrame
    validation: pd.DataFrame


def left(task: "Task") -> Left:
    """Return what the stages before left.

    Raises:
        Refusal: something is missing or damaged.
    """
    return Left(**_left(task))


def gather(task: "Task") -> Findings:
    """Return what the stages before left for a classifier.

    Raises:
        Refusal: something is missing or damaged.
    """
    evaluate = task.folder("evaluate")
    return Findings(
        **_left(task),
        per_class=read_csv(evaluate / "per_class.csv", dtype={"class": str}),
        confusion=read_csv(evaluate / "confusion.csv", dtype={"true / predicted": str}),
        predictions=read_csv(
            evaluate / "predictions.csv", dtype={"id": str, "group": str, "bucket": str}
        ),
        baselines=read_csv(evaluate / "baseline_predictions.csv", dtype={"id": str}),
        validation=read_csv(evaluate / "validation_predictions.csv", dtype={"id": str}),
    )


def _left(task: "Task") -> dict[str, Any]:
    text = dict.fromkeys(TEXT_COLUMNS, str)
    check, baseline, train, evaluate, failures = (
        task.folder(stage) for stage in ("check", "baseline", "train", "evaluate", "failures")
    )
    return {
        "task": task,
        "dataset": read_dataset(task.folder("prepare")),
        "checks": read_json(check / "checks.json"),
        "shapes": read_csv(check / "shapes.csv"),
        "baseline": read_json(baseline / "baseline.json"),
        "log": read_csv(train / "log.csv"),
        "chosen": read_json(train / "chosen.json"),
        "troubles": read_json(train / "troubles.json"),
        "alarms": read_json(evaluate / "alarms.json"),
        "machine": read_json(train / "machine.json"),
        "metrics": read_json(evaluate / "metrics.json"),
        "cases": read_csv(failures / "cases.csv", dtype=text),
        "successes": read_csv(failures / "successes.csv", dtype=text),
        "summary": read_json(failures / "summary.json"),
        "next_step": read_json(failures / "next_step.json"),
    }
