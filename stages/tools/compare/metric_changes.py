"""The current metrics of every task beside the measured baseline's, or those of a git revision.

The verdict in the table is that of each result against its own baseline, on the same test samples.
`dvc metrics diff REV` prints the few figures of `metrics/metrics.json`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.compare.revision import Revision, find_revision, require_revision
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from stages.kinds.results import Results

BASELINE = "baseline"
IMPROVEMENT = "improvement"
MISSING = "-"
_PACKS = "evidence"
_METRICS = f"{_PACKS}/*/data/metrics.json"


def print_changes(revision: str) -> None:
    """Print the metrics of a revision, the current ones and the change.

    Raises:
        UserError: there is no such revision, or one has no metrics.
    """
    from stages.compare import read_results
    from stages.core.files import read_json
    from stages.kinds.params import load_tasks

    if revision == BASELINE:
        results = read_results()
        refresh_baseline(results)
        before = {part.task.name: part.metrics["baseline"] for part in results}
        current = {part.task.name: part.metrics["current"] for part in results}
    else:
        before = read_metrics(require_revision(revision))
        current = {
            name: read_json(task.evidence / "data" / "metrics.json")["current"]
            for name, task in load_tasks().items()
        }
    print("\n".join(table_lines((revision, "current"), before, current)))


def refresh_baseline(results: "Sequence[Results]") -> None:
    """Make the revision `baseline` anew, unless it is the one that the stage compare made last.

    It is a git tag and no output of DVC, so that it can be of other results than the work tree's.

    Raises:
        UserError: the pipeline has not run.
    """
    from stages.compare import FOLDER, NAME, baseline_files
    from stages.report.baseline_revision import create_baseline_revision

    record = FOLDER / "revision.txt"
    if not record.exists():
        raise UserError(f"{record} is missing; make it with `dvc repro`")
    tag = find_revision(NAME)
    if tag and tag.commit == record.read_text(encoding="utf-8").strip():
        return
    create_baseline_revision(NAME, baseline_files(results))


def read_metrics(revision: Revision) -> dict[str, Any]:
    """Return the metrics of the models of a revision, by task.

    Raises:
        UserError: it has none, or they are damaged.
    """
    paths = [path for path in revision.files(_PACKS) if Path(path).match(_METRICS)]
    metrics = {Path(path).parts[1]: revision.read_json(path).get("current") for path in paths}
    if not metrics:
        raise UserError(f"revision {revision.name} has no evidence packs; give one that has")
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
