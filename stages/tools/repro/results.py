"""The end of `evidence repro`: a table of the results, and whether they are the committed ones."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.evaluation.metric_names import METRICS
from stages.kinds.registry import KINDS
from stages.kinds.results import Results
from stages.tools.gain import gain_text, metric_text
from stages.tools.repro.up_to_date import Report
from stages.tools.reproduction import reproduction
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from stages.core.task import Task

_HEADINGS = ("task", "verdict", "gain", "metric", "baseline", "model", "failures", "page")


def report(tasks: "Mapping[str, Task]") -> Report:
    """Return the results of the tasks, and how they compare with the committed ones.

    The git tag `baseline` is made anew where it is of other results, as after a switch between revisions.

    Raises:
        UserError: the user has a tag or branch `baseline`.
    """
    from stages.tools.compare.metric_changes import refresh_baseline

    results = list(_read(tasks.values()))
    if len(results) == len(tasks):
        refresh_baseline(results)
    comparison = reproduction(Path.cwd())
    see_also = "evidence record (next steps), dvc metrics diff baseline, dvc plots diff baseline"
    lines = ["", *table_lines(results), "", *comparison.lines, f"see also: {see_also}"]
    return Report("\n".join(lines), comparison.status)


def _read(tasks: "Iterable[Task]") -> Iterator[Results]:
    """Yield the results of the tasks that have run."""
    for task in tasks:
        try:
            yield Results.of_stages(task)
        except UserError:
            continue


def table_lines(results: Iterable[Results]) -> list[str]:
    """Return the lines of the table: a row for each task, figures with their units."""
    rows = []
    for part in results:
        metric, current, baseline = part.metric, part.current(), part.baseline()
        rows.append(
            (
                part.task.name,
                current["verdict"],
                gain_text(metric, current),
                metric_title(part),
                metric_text(metric, baseline[metric]),
                metric_text(metric, current[metric]),
                f"{current['failures']:,}",
                f"{part.task.evidence}/index.html",
            )
        )
    return align([_HEADINGS, *rows], len(_HEADINGS)) if rows else []


def metric_title(results: Results) -> str:
    """Return the name of the metric that decides, as readers know it."""
    if results.metric in METRICS:
        return METRICS[results.metric]
    columns = KINDS[results.task.kind].bench.columns
    titles = [title for title, path in columns.items() if path == f"current.{results.metric}"]
    return titles[0] if titles else results.metric
