"""The current metrics of every task beside the measured baseline's, or those of a git revision.

The verdict in the table is that of each result against its own baseline, on the same test samples.
`dvc metrics diff REV` prints every figure of the same two files, the bounds of intervals too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.compare.output import align

if TYPE_CHECKING:
    from stages.core.task import Task

BASELINE = "baseline"
IMPROVEMENT = "improvement"
MISSING = "-"


def print_changes(revision: str) -> None:
    """Print the metrics of a revision, the current ones and the change.

    Raises:
        UserError: there is no such revision, or one has no metrics.
    """
    from stages.compare import METRICS
    from stages.core.files import read_json
    from stages.kinds.params import load_tasks

    current = read_json(METRICS)
    if revision == BASELINE:
        refresh_baseline(load_tasks())
    before = read_metrics(revision, METRICS)
    print("\n".join(table_lines((revision, "current"), before, current)))


def refresh_baseline(tasks: "Mapping[str, Task]") -> None:
    """Make the revision `baseline` anew, unless it is the one that the stage compare made last.

    It is a git tag and no output of DVC, so that it can be of other results than the work tree's.

    Raises:
        UserError: the pipeline has not run.
    """
    from stages.compare import FOLDER, NAME, baseline_files
    from stages.core.files import read_json
    from stages.report.baseline_revision import create_baseline_revision

    record = FOLDER / "revision.txt"
    if not record.exists():
        raise UserError(f"{record} is missing; make it with `dvc repro`")
    if resolve(NAME) == record.read_text(encoding="utf-8").strip():
        return
    baseline = {
        name: read_json(task.folder("evaluate") / "metrics.json")["baseline"]
        for name, task in tasks.items()
    }
    create_baseline_revision(NAME, baseline_files(tasks.values(), baseline))


def read_metrics(revision: str, path: Path) -> Any:
    """Return the metrics of a revision, by task.

    Raises:
        UserError: there is no such revision, or it has no metrics.
    """
    from stages.core.processes import git

    commit = resolve(revision)
    if not commit:
        raise UserError(
            f"given revision {revision!r}; git knows none by that name (see git log --all)"
        )
    try:
        metrics = json.loads(git(Path.cwd(), "show", f"{commit}:{path.as_posix()}"))
    except (UserError, ValueError):
        metrics = None
    if not isinstance(metrics, dict):
        raise UserError(
            f"revision {revision} has no readable {path}; give one in which it is committed"
        )
    return metrics


def table_lines(revision: str, before: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table: a row for each metric of each task, and one for its verdict.

    Args:
        revision: the heading of the metrics `before`.
        before: metrics by task.
        current: metrics by task.
    """
    rows = [("task", "metric", revision, "current", "change")]
    for task in dict.fromkeys([*current, *before]):
        rows += [(task, *row) for row in _task_rows(before.get(task, {}), current.get(task, {}))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_align(row, widths).rstrip() for row in rows]


def _align(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.ljust(width) if index < _LEFT_COLUMNS else text.rjust(width)
        for index, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells)


def _task_rows(before: Any, current: Any) -> list[tuple[str, str, str, str]]:
    values = [_numbers(metrics) for metrics in (before, current)]
    rows = []
    names = dict.fromkeys([*values[1], *values[0]])
    for name in names:
        if any(name == f"{metric}_{bound}" for metric in names for bound in ("low", "high")):
            continue
        old, new = (metrics.get(name) for metrics in values)
        change = _MISSING if old is None or new is None else _format_change(new - old)
        rows.append((name, _format_value(old), _format_value(new), change))
    return [*rows, ("verdict", _verdict(before), _verdict(current), "")]


def _numbers(metrics: Any, key: str = "") -> dict[str, float]:
    """Return the numbers of nested metrics by dotted key, without those of the improvement."""
    if isinstance(metrics, dict):
        return {
            name: number
            for part, value in metrics.items()
            if part != IMPROVEMENT
            for name, number in _numbers(value, f"{key}.{part}" if key else str(part)).items()
        }
    return {key: metrics} if isinstance(metrics, int | float) else {}


def _verdict(metrics: Any) -> str:
    improvement = metrics.get(IMPROVEMENT) if isinstance(metrics, dict) else None
    return str(improvement.get("verdict", _MISSING)) if isinstance(improvement, dict) else _MISSING


def _format_value(value: float | None) -> str:
    if value is None:
        return _MISSING
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _format_change(change: float) -> str:
    if change == 0:
        return "0"
    return f"{change:+.4f}" if isinstance(change, float) else f"{change:+d}"
