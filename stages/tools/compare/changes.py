"""What changes between two revisions, task by task: params, data, metrics, experiments, and samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.tools.compare.changed_samples import Sample, changed_generated, changed_samples
from stages.tools.compare.metric_changes import MISSING, metric_rows
from stages.tools.compare.packs import Pack, read_packs
from stages.tools.compare.revision import Revision
from stages.tools.tolerance import flatten

if TYPE_CHECKING:
    from stages.evaluation.paired_tables import PairedComparison
    from stages.tools.compare.output import Report

Row = tuple[str, str, str]
_VALUE_LENGTH = 80  # characters of a value
_ORDER = (
    "worse",
    "better",
    "equivalent",
    "not distinguishable",
    "underpowered",
    "too few groups",
)
_LOG_COLUMNS = ("change", "why", "before", "after", "verdict", "kept")


@dataclass(frozen=True)
class TaskChanges:
    """What changes for a task.

    Attributes:
        task: by name.
        sentence: the verdict in words, or why there is none.
        metrics: (metric, before, after, change).
        params: (key, before, after).
        data: (key, before, after), of the dataset note.
        experiments: tried since, as (change, why, before, after, verdict, kept).
        verdict: on the second revision against the first, "" where there is nothing to test.
        figures: behind it, as (term, value).
        classes: (class, test samples fixed, broken).
        fixed: samples.
        broken: samples.
        both_wrong: how many samples neither revision gets right; None without predictions.
        scores: (score, low, high) of both revisions, as shares.
        gain: of the second one, with its interval, as a difference of shares: (gain, low, high).
    """

    task: str
    sentence: str
    metrics: Sequence[tuple[str, str, str, str]]
    params: Sequence[Row]
    data: Sequence[Row]
    experiments: Sequence[tuple[str, ...]]
    verdict: str = ""
    figures: Sequence[tuple[str, str]] = ()
    classes: Sequence[Row] = ()
    fixed: Sequence[Sample] = ()
    broken: Sequence[Sample] = ()
    both_wrong: int | None = None
    scores: Sequence[tuple[float, float, float]] = ()
    gain: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Changes:
    """What changes between two revisions.

    Attributes:
        before: the first one.
        after: the second one.
        tasks: that are in both: those that get worse first, then those that get better.
        only_before: the names of tasks that only the first one has.
        only_after: the names of those that only the second one has.
        code: paths of the files of code that differ.
    """

    before: Revision
    after: Revision
    tasks: Sequence[TaskChanges]
    only_before: Sequence[str]
    only_after: Sequence[str]
    code: Sequence[str]


def find_changes(before: Revision, after: Revision, report: "Report") -> Changes:
    """Return what changes between two revisions.

    Args:
        before: the first one.
        after: the second one.
        report: of `compare_revisions` on the two.
    """
    first, second = read_packs(before), read_packs(after)
    tasks = [
        _task_changes(task, first[task], second[task], report) for task in report.content["tasks"]
    ]
    tasks.sort(
        key=lambda task: _ORDER.index(task.verdict) if task.verdict in _ORDER else len(_ORDER)
    )
    return Changes(
        before,
        after,
        tasks,
        report.content["only_in_a"],
        report.content["only_in_b"],
        _changed_code(before, after),
    )


def _changed_code(before: Revision, after: Revision) -> list[str]:
    from stages.tools.verify.code import code_files

    first, second = (code_files(Path.cwd(), revision.commit) for revision in (before, after))
    return sorted(
        path for path in first.keys() | second.keys() if first.get(path) != second.get(path)
    )


def _task_changes(task: str, before: Pack, after: Pack, report: "Report") -> TaskChanges:
    from stages.tools.compare.output import figure_rows, verdict_sentence

    content, comparison = report.content["tasks"][task], report.comparisons.get(task)
    reason = content.get("reason")
    metrics = (pack.metrics.get("current", {}) for pack in (before, after))
    changes = TaskChanges(
        task,
        sentence=f"Not compared: {reason}" if reason else "No predictions of samples to test.",
        metrics=metric_rows(*metrics, intervals=True),
        params=_differences(before.params, after.params),
        data=_differences(before.note, after.note),
        experiments=_new_experiments(before, after),
    )
    if comparison is None:
        if before.has_predictions or after.has_predictions:
            return changes
        fixed, broken = changed_generated(before, after)
        return replace(changes, fixed=fixed, broken=broken)
    names, figures = (before.revision.name, after.revision.name), comparison.figures
    return replace(
        changes,
        verdict=comparison.verdict,
        sentence=_without_verdict(verdict_sentence(comparison, names)),
        figures=list(figure_rows(comparison, names)),
        classes=_by_class(comparison),
        fixed=changed_samples(comparison.fixed(), "a", before),
        broken=changed_samples(comparison.broken(), "b", after),
        both_wrong=_count_both_wrong(comparison),
        scores=comparison.scores,
        gain=(figures["gain"], figures["gain_low"], figures["gain_high"]),
    )


def _without_verdict(sentence: str) -> str:
    """Return a sentence without the verdict that begins it, which stands beside it."""
    text = sentence.partition(": ")[2]
    return f"{text[:1].upper()}{text[1:]}"


def _count_both_wrong(comparison: "PairedComparison") -> int:
    pairs = comparison.pairs
    return int((pairs.predictions != pairs.labels).all(axis=0).sum())


def _by_class(comparison: "PairedComparison") -> list[Row]:
    """Return how many samples of each class are fixed and broken, the worst class first."""
    counts: dict[str, list[int]] = {}
    for place, rows in enumerate((comparison.fixed(), comparison.broken())):
        for row in rows:
            counts.setdefault(row["label"], [0, 0])[place] += 1
    ordered = sorted(counts.items(), key=lambda item: (item[1][0] - item[1][1], item[0]))
    return [(name, str(fixed), str(broken)) for name, (fixed, broken) in ordered]


def _new_experiments(before: Pack, after: Pack) -> list[tuple[str, ...]]:
    """Return the experiments that only the second revision's log has."""
    rows = [
        [tuple(_short(row.get(name, "")) for name in _LOG_COLUMNS) for row in pack.rows(_log())]
        for pack in (before, after)
    ]
    return [row for row in rows[1] if row not in rows[0]]


def _log() -> str:
    from stages.evaluation.experiment_log import LOG

    return LOG


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """Return the values that differ, by dotted key; those of classes and groups, which are many, last."""
    first, second = (flatten(_keyed(values)) for values in (before, after))
    keys = sorted(
        first.keys() | second.keys(),
        key=lambda key: (key.startswith(("class_counts.", "groups.")), key),
    )
    return [
        (key, _format(first.get(key)), _format(second.get(key)))
        for key in keys
        if first.get(key) != second.get(key)
    ]


def _keyed(value: Any) -> Any:
    """Return values in which lists are texts, and the counts of classes are by class."""
    if isinstance(value, Mapping):
        return {key: _keyed(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if value and all(isinstance(item, Mapping) and "class" in item for item in value):
        return {
            str(item["class"]): ", ".join(f"{key} {item[key]}" for key in item if key != "class")
            for item in value
        }
    return ", ".join(map(str, value)) or "none"


def _format(value: Any) -> str:
    """Return a value as text; one that is missing and one that is null are the same."""
    return MISSING if value is None else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}..."


def unchanged_parts(changes: TaskChanges) -> Iterator[str]:
    """Yield which of params and data are the same in both revisions."""
    if not changes.params:
        yield "params"
    if not changes.data:
        yield "data"
