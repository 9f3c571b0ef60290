"""Two revisions of this repository, compared task by task from the packs that git holds."""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.compare import options, output
from stages.tools.compare.metric_changes import metric_rows
from stages.tools.compare.packs import PACKS, Pack, read_packs
from stages.tools.compare.revision import Revision
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from stages.evaluation.paired_tables import PairedComparison


def compare_revisions(
    first: Revision, second: Revision, arguments: argparse.Namespace
) -> output.Report:
    """Return the comparison of the second revision with the first, for each task that is in both.

    Raises:
        UserError: no task is in both.
    """
    options.make_params(arguments, {})  # a wrong flag is no fault of a task
    before, after = read_packs(first), read_packs(second)
    tasks = [name for name in after if name in before]
    only = [[name for name in packs if name not in tasks] for packs in (before, after)]
    if not tasks:
        raise UserError(
            f"no task is in both revisions: {first.name} has {_listed(before)}, {second.name} has "
            f"{_listed(after)} (a task has {PACKS}/TASK/data/metrics.json)"
        )
    lines: list[str] = []
    content: dict[str, Any] = {}
    comparisons: dict[str, PairedComparison] = {}
    refused = False
    for task in tasks:
        try:
            result = _compare_packs(before[task], after[task], arguments)
        except UserError as error:
            refused = True
            result = _Result([f"not compared: {error}"], {"reason": str(error)})
        lines += [f"{task}: {result.lines[0]}", *result.lines[1:], ""]
        content[task] = result.content
        if result.comparison:
            comparisons[task] = result.comparison
    for revision, names in zip((first, second), only, strict=True):
        lines += [f"only in {revision.name}: {_listed(names)}"] if names else []
    return output.Report(
        lines=lines,
        content={
            "revisions": {"a": vars(first), "b": vars(second)},
            "tasks": content,
            "only_in_a": only[0],
            "only_in_b": only[1],
        },
        comparisons=comparisons,
        names=(first.name, second.name),
        accepted=not refused and all(value.accepted for value in comparisons.values()),
    )


def _listed(tasks: Iterable[str]) -> str:
    return ", ".join(tasks) or "none"


@dataclass(frozen=True)
class _Result:
    """What the comparison of a task prints and writes, and draws."""

    lines: list[str]
    content: dict[str, Any]
    comparison: "PairedComparison | None" = None


def _compare_packs(before: Pack, after: Pack, arguments: argparse.Namespace) -> _Result:
    """Return the comparison of a task's packs.

    Raises:
        UserError: they cannot be compared.
    """
    names = (before.revision.name, after.revision.name)
    if before.has_predictions != after.has_predictions:
        name = names[0] if before.has_predictions else names[1]
        raise UserError(
            f"only {name} has predictions of test samples, so the kind of task has changed"
        )
    if not after.has_predictions:
        return _compare_metrics(before, after)
    from stages.evaluation.paired_tables import compare_pairs, pair_tables
    from stages.evaluation.prediction_columns import NONE

    evaluate = after.params.get("evaluate") or {}
    defaults = {name: evaluate[name] for name in options.DEFAULTS if name in evaluate}
    params = options.make_params(arguments, defaults)
    tables = before.predictions(NONE), after.predictions(None)
    comparison = compare_pairs(pair_tables(*tables, common=True), params)
    rows = [*output.figure_rows(comparison, names), *_further_rows(before, after, comparison)]
    return _Result(
        [
            output.verdict_sentence(comparison, names),
            *align(rows, 2),
            *output.sample_lines(comparison),
        ],
        output.as_json(comparison),
        comparison,
    )


def _further_rows(
    before: Pack, after: Pack, comparison: "PairedComparison"
) -> Iterator[tuple[str, str]]:
    """Yield the gains of the other seeds on the same samples, and whether the raw data differ."""
    from stages.report.formatting import points

    old, new = (_seed_scores(pack, comparison.params.metric) for pack in (before, after))
    seeds = [seed for seed in new if seed in old]
    if len(seeds) > 1 and not any(comparison.pairs.omitted):
        gains = [f"{points(new[seed] - old[seed])} (seed {seed})" for seed in seeds]
        yield "gain by seed", ", ".join(gains)
    if before.note.get("raw_sha256") != after.note.get("raw_sha256"):
        yield "raw data", "differ (SHA-256); the samples are those with the same id and label"


def _seed_scores(pack: Pack, metric: str) -> dict[str, float]:
    seeds = pack.metrics.get("seeds")
    scores = seeds.items() if isinstance(seeds, dict) else ()
    return {seed: row[metric] for seed, row in scores if isinstance(row, dict) and metric in row}


def _compare_metrics(before: Pack, after: Pack) -> _Result:
    """Return the metrics of a task without predictions of samples, such as that of a generator."""
    values = [pack.metrics.get("current", {}) for pack in (before, after)]
    names = (before.revision.name, after.revision.name)
    rows = metric_rows(*values, intervals=True)
    return _Result(
        [
            "its metrics; there are no predictions of samples to test",
            *align([("metric", *names, "change"), *rows], 1),
        ],
        {"metrics": dict(zip("ab", values, strict=True))},
    )
