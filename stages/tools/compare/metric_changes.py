"""The current metrics of every task beside the measured baseline's, or those of a git revision.

The verdict in the table is that of each result against its own baseline, on the same test samples.
`dvc metrics diff REV` prints every figure of the same two files, the bounds of intervals too.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.compare.output import align
from stages.tools.compare.revision import find_revision, require_revision

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
    tag = find_revision(NAME)
    if tag and tag.commit == record.read_text(encoding="utf-8").strip():
        return
    baseline = {
        name: read_json(task.folder("evaluate") / "metrics.json")["baseline"]
        for name, task in tasks.items()
    }
    create_baseline_revision(NAME, baseline_files(tasks.values(), baseline))


def read_metrics(name: str, path: Path) -> dict[str, Any]:
    """Return the metrics of a revision, by task.

    Raises:
        UserError: there is no such revision, or it has no metrics.
    """
    metrics: dict[str, Any] | None = None
    revision = require_revision(name)
    with suppress(UserError):
        metrics = revision.read_json(path.as_posix())
    if not metrics:
        raise UserError(
            f"revision {name} has no readable {path}; give one in which it is committed"
        )
    return metrics


def table_lines(
    headings: tuple[str, str], before: Mapping[str, Any], current: Mapping[str, Any]
) -> list[str]:
    """Return the lines of the table: a row for each metric of each task, and one for its verdict.

    Args:
        headings: of the metrics `before`, and of the current ones.
        before: metrics by task.
        current: metrics by task.
    """
    rows = [("task", "metric", *headings, "change")]
    for task in dict.fromkeys([*current, *before]):
        rows += [(task, *row) for row in metric_rows(before.get(task), current.get(task))]
    return align(rows, 2)


def metric_rows(
    before: Any, current: Any, *, intervals: bool = False
) -> list[tuple[str, str, str, str]]:
    """Return a row for each metric of a task (name, before, current, change), and one for its verdict.

    Args:
        before: metrics, which may be nested.
        current: metrics, which may be nested.
        intervals: whether to show them beside the values.
    """
    values = [_numbers(metrics) for metrics in (before, current)]
    rows = []
    names = dict.fromkeys([*values[1], *values[0]])
    for name in names:
        if any(name == f"{metric}_{bound}" for metric in names for bound in ("low", "high")):
            continue
        old, new = (metrics.get(name) for metrics in values)
        change = MISSING if old is None or new is None else _format_change(new - old)
        cells = [_format_value(metrics, name, interval=intervals) for metrics in values]
        rows.append((name, cells[0], cells[1], change))
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
    return str(improvement.get("verdict", MISSING)) if isinstance(improvement, dict) else MISSING


def _format_value(metrics: Mapping[str, float], name: str, *, interval: bool) -> str:
    numbers = [metrics.get(key) for key in (name, f"{name}_low", f"{name}_high")]
    value, low, high = (
        MISSING if number is None else f"{number:.4f}" if isinstance(number, float) else str(number)
        for number in numbers
    )
    return f"{value} ({low} to {high})" if interval and None not in numbers else value


def _format_change(change: float) -> str:
    if change == 0:
        return "0"
    return f"{change:+.4f}" if isinstance(change, float) else f"{change:+d}"
