"""What a stage of this project has come to, in a few words, read from the files that it has written."""

import csv
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.files import read_json
from stages.core.task import run_name
from stages.kinds.results import Results
from stages.tools.gain import gain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stages.core.task import Task

# What a file of another version or of a foreign stage raises: then there is nothing to say.
_UNREADABLE = (UserError, OSError, LookupError, ValueError, TypeError, AttributeError)


class Summaries:
    """The summaries of stages, by their names.

    Args:
        tasks: of the project, by name; none in another one, whose stages get no summary.
    """

    def __init__(self, tasks: "Mapping[str, Task]") -> None:
        self._tasks = tasks

    def __call__(self, stage: str) -> str:
        """Return what a stage that has ended came to: "10 of 10 passed" of `check@image`."""
        name, _, task = stage.partition("@")
        if name not in _SUMMARIES or task not in self._tasks:
            return ""
        try:
            return _SUMMARIES[name](self._tasks[task])
        except _UNREADABLE:
            return ""


def _prepare(task: "Task") -> str:
    note = read_json(task.folder("prepare") / "dataset.json")
    counts: dict[str, int] = note["counts"]
    if note.get("folds", 1) > 1:  # each sample is tested once
        return f"{counts['test']:,} samples in {note['folds']} folds"
    splits = ", ".join(f"{counts[split]:,} {split}" for split in ("train", "validation", "test"))
    return f"{sum(counts.values()):,} samples ({splits})"


def _check(task: "Task") -> str:
    checks = read_json(task.folder("check") / "checks.json")
    return f"{sum(bool(check['passed']) for check in checks)} of {len(checks)} passed"


def _baseline(task: "Task") -> str:
    baselines = read_json(task.folder("baseline") / "baseline.json")
    count = len(baselines["methods"])
    if "strongest" not in baselines:  # the stage evaluate decides
        return f"{count} methods"
    return f"{baselines['strongest']} is the strongest of {count} methods on validation data"


def _train(task: "Task") -> str:
    folder = task.folder("train")
    losses: dict[str, list[float]] = {}  # of each run, epoch by epoch
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            fold = int(row["fold"]) if "fold" in row else None
            losses.setdefault(run_name(int(row["seed"]), fold), []).append(
                float(row["validation_loss"])
            )
    selected: dict[str, int] = read_json(folder / "checkpoints.json").get("epoch", {})
    epochs = {name: selected.get(name, len(run) - 1) for name, run in losses.items()}
    parts = [f"{len(losses)} runs"] if len(losses) > 1 else []
    if selected:  # else the stage evaluate selects a checkpoint
        best = _range([epoch + 1 for epoch in epochs.values()], "d")
        parts.append(f"best epoch {best} of {max(map(len, losses.values()))}")
    loss = _range([run[epochs[name]] for name, run in losses.items()], ".3f")
    return ", ".join([*parts, f"validation loss {loss}"])


def _range(values: "list[Any]", form: str) -> str:
    low, high = (format(value, form) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _evaluate(task: "Task") -> str:
    # The stage failures, which counts failures, comes later.
    results = Results(task, read_json(task.folder("evaluate") / "metrics.json"), {})
    improvement = results.metrics["current"]["improvement"]
    return f"{improvement['verdict']}, {gain_text(results.metric, improvement)}"


def _failures(task: "Task") -> str:
    summary = read_json(task.folder("failures") / "summary.json")
    if "changes" not in summary:
        return f"{summary['failure_case_count']:,} of {summary['samples']:,} samples fail"
    changes: dict[str, int] = summary["changes"]
    wrong = changes["broken"] + changes["persistent"]
    return f"{wrong:,} of {sum(changes.values()):,} test samples are wrong"


def _pack(task: "Task") -> str:
    return f"{task.evidence}/index.html"


_SUMMARIES: dict[str, "Callable[[Task], str]"] = {
    "prepare": _prepare,
    "check": _check,
    "baseline": _baseline,
    "train": _train,
    "evaluate": _evaluate,
    "failures": _failures,
    "pack": _pack,
}
