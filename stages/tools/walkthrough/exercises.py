"""The exercises of the walkthrough, and the runs that measure their outcomes, in scratch clones of HEAD.

Two tables hold the outcomes: a row for each exercise, before and after, on validation data; and a row for
each difficulty of the stripes, with the accuracy of the linear baseline and of the network on test data.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_csv, read_json
from stages.tools import scratch

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.task import Task

OUTCOMES, DIFFICULTIES = "outcomes.csv", "difficulty.csv"
LINEAR = "flatten + linear"
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of difficulty; at 0 all images of a class are the same
_CATALOGUE = Path(__file__).parent / "exercises.yaml"
_STAGES = ("prepare", "baseline", "train", "evaluate")


@dataclass(frozen=True)
class Exercise:
    """A change that a learner predicts, runs and compares.

    Attributes:
        name: in the table of outcomes.
        title: the change in words.
        question: what to predict.
        explanation: of the outcome.
        param: KEY=VALUE; "" for a change of code.
        file: of the code.
        old: its line, with indentation.
        new: the line in its place; "" for none.
    """

    name: str
    title: str
    question: str
    explanation: str
    param: str = ""
    file: str = ""
    old: str = ""
    new: str = ""


def read_exercises() -> list[Exercise]:
    """Return the exercises of the catalogue, in order."""
    from stages.core.params import read_yaml

    return [Exercise(**entry) for entry in read_yaml(_CATALOGUE)]


class Workbench:
    """Runs of a task with one change each, in copies of one clone of HEAD.

    Args:
        task: by name.
        folder: an empty scratch folder.

    Raises:
        UserError: HEAD does not have the task, or a stage fails.
    """

    def __init__(self, task: str, folder: Path) -> None:
        self.folder, self.name = folder, task
        self.base = scratch.clone_head(folder / "base")
        tasks = scratch.read_tasks(self.base)
        if task not in tasks:
            raise UserError(
                f"{task}: is not in HEAD; commit it first, since HEAD is what is cloned"
            )
        self.task: Task = tasks[task]
        shutil.rmtree(self.base / ".git")
        _run_stages(self.base, task, _STAGES)

    def outcome(self, exercise: Exercise) -> dict[str, Any]:
        """Return an exercise's row: figures on validation data before and after, and the verdict."""
        clone = self._changed(
            exercise.name, lambda folder: apply_exercise(exercise, self.task, folder)
        )
        _run_stages(clone, self.name, ("train", "evaluate"))
        module = self.task.module("experiment")
        before, after = (
            folder / self.task.folder("evaluate") / module.RESULTS for folder in (self.base, clone)
        )
        row = {
            "exercise": exercise.name,
            "count": len(read_csv(before)),
            "verdict": module.compare(before, after, self.task).verdict,
            **self._figures(self.base, before, "before"),
            **self._figures(clone, after, "after"),
        }
        shutil.rmtree(clone)
        return row

    def difficulty(self, level: float) -> dict[str, Any]:
        """Return a difficulty's row: accuracies of the baseline and of the network on test data."""
        changes = {"prepare": {"stripes": {"difficulty": level}}}
        clone = self._changed(
            f"difficulty-{level}", lambda folder: scratch.change_params(folder, self.name, changes)
        )
        _run_stages(clone, self.name, _STAGES)
        metrics = read_json(clone / self.task.folder("evaluate") / "metrics.json")
        row = {"difficulty": level, "count": metrics["n"]}
        methods = {"linear": metrics["baselines"][LINEAR], "cnn": metrics["current"]}
        for name, scores in methods.items():
            for suffix in ("", "_low", "_high"):
                row[f"{name}{suffix}"] = scores[f"accuracy{suffix}"]
        shutil.rmtree(clone)
        return row

    def _changed(self, name: str, change: Callable[[Path], None]) -> Path:
        clone = self.folder / name
        shutil.copytree(self.base, clone, symlinks=True)
        change(clone)
        return clone

    def _figures(self, clone: Path, predictions: Path, suffix: str) -> dict[str, float]:
        """Return accuracy and losses of the primary seed's run."""
        seed = self.task.params.train.seeds[0]
        log: pd.DataFrame = read_csv(clone / self.task.folder("train") / "log.csv")
        log = log[log["seed"] == seed]
        table = read_csv(predictions)
        return {
            f"accuracy_{suffix}": float((table[f"seed_{seed}"] == table["label"]).mean()),
            f"loss_{suffix}": float(log["validation_loss"].min()),
            f"first_{suffix}": float(log["train_loss"].iloc[0]),
            f"last_{suffix}": float(log["train_loss"].iloc[-1]),
        }


def apply_exercise(exercise: Exercise, task: "Task", folder: Path) -> None:
    """Make an exercise's change in a clone.

    Raises:
        UserError: the line is not in the code exactly once.
    """
    from stages.core.params import parse_yaml

    if exercise.param:
        key, _, value = exercise.param.partition("=")
        changes: Any = parse_yaml(value)
        for part in reversed(key.split(".")):
            changes = {part: changes}
        scratch.change_params(folder, task.name, changes)
        return
    path = folder / exercise.file
    text, line = path.read_text(encoding="utf-8"), f"{exercise.old}\n"
    if text.count(line) != 1:
        raise UserError(
            f"{_CATALOGUE.name}: {exercise.name}: old: {exercise.file} must have this line once; it has it "
            f"{text.count(line)} times; write there the line as it is now"
        )
    replacement = f"{exercise.new}\n" if exercise.new else ""
    path.write_text(text.replace(line, replacement), encoding="utf-8")


def _run_stages(clone: Path, task: str, stages: tuple[str, ...]) -> None:
    for stage in stages:
        result = scratch.run_stage(clone, stage, task)
        if result.returncode:
            raise UserError(scratch.failure_line(stage, result))


def rows_by_exercise(outcomes: "pd.DataFrame") -> Mapping[str, dict[str, Any]]:
    """Return the rows of the table of outcomes, by exercise."""
    rows = outcomes.to_dict("records")
    return {row["exercise"]: {str(name): row[name] for name in row} for row in rows}
