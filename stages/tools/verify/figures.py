"""How many figures the packs state, and how many of them were computed again."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.report.recompute import Recomputation

# What the metrics are computed from: sources, not claims about the model.
SOURCES = {"predictions", "baseline_predictions", "validation_predictions", "samples"}
# Files that follow from the params, the prepared data and the metrics alone.
_DERIVED = {"dataset_note.json", "metric_table.csv", "params.json"}


@dataclass(frozen=True)
class FigureFile:
    """A file of a pack with figures that its pages show.

    Attributes:
        path: relative to the root.
        stage: that computes them: `evaluate@image`.
        figures: their number.
        recomputed: whether they were computed again from the sources in git.
    """

    path: str
    stage: str
    figures: int
    recomputed: bool


@dataclass(frozen=True)
class Coverage:
    """How many of the figures were computed again, over all tiers.

    Attributes:
        figures: their number.
        recomputed: how many of them.
        trusted: the files whose figures were not, by their name in the pack.
    """

    figures: int = 0
    recomputed: int = 0
    trusted: tuple[str, ...] = ()


def count_figures(task: "Task", recomputation: "Recomputation | None") -> list[FigureFile]:
    """Return the files with figures of a task's pack, but the sources.

    Args:
        task: whose pack is read.
        recomputation: its evaluation, computed again; None if that failed.
    """
    artifacts = task.module("artifacts").artifacts(task)
    by_file = {artifact.packed_as: artifact for artifact in artifacts}
    again = {"metrics", *recomputation.tables} if recomputation else set()
    files = []
    for path in sorted((task.evidence / "data").iterdir()):
        artifact = by_file.get(path.name)
        if artifact and artifact.name in SOURCES:
            continue
        figures = _number_of_figures(path)
        if figures:
            stage = artifact.stage if artifact else "pack"
            recomputed = recomputation is not None and (
                artifact.name in again if artifact else path.name in _DERIVED
            )
            files.append(FigureFile(path.as_posix(), f"{stage}@{task.name}", figures, recomputed))
    return files


def _number_of_figures(path: Path) -> int:
    if path.suffix == ".json":
        return _count_numbers(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return sum(_is_number(cell) for row in csv.reader(file) for cell in row)
    return 0


def _count_numbers(content: Any) -> int:
    if isinstance(content, dict):
        return sum(map(_count_numbers, content.values()))
    if isinstance(content, list):
        return sum(map(_count_numbers, content))
    return isinstance(content, int | float) and not isinstance(content, bool)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def coverage(files: Sequence[FigureFile], run_again: set[str]) -> Coverage:
    """Return how many figures were computed again.

    Args:
        files: those of all packs.
        run_again: the stages that were run again and agree.
    """
    recomputed = [file for file in files if file.recomputed or file.stage in run_again]
    trusted = {Path(file.path).name for file in files if file not in recomputed}
    total = sum(file.figures for file in files)
    return Coverage(total, sum(file.figures for file in recomputed), tuple(sorted(trusted)))
