"""The tier metrics: samples, metrics, tables, plots and pages, computed again from the files in git.

The code of this project computes them; nothing of the revision's is imported or run.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import EvidenceError, UserError
from stages.tools.verify.disagreements import Cause, Disagreement
from stages.tools.verify.figures import FigureFile, count_figures
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.pack_checks import (
    check_comparison,
    check_dataset,
    check_evaluation,
    check_pack,
)
from stages.tools.verify.pipeline import command_disagreement, requested_tasks
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.report.recompute import Recomputation

_MOST_COLUMNS = 10_000  # of a table in a pack: those of every class and seed stay far below
_LONGEST_HEADING = 2**20  # bytes of its first line that are read
# What reading a file with other columns, keys or types raises.
DAMAGED = (OSError, LookupError, ValueError, TypeError, AttributeError)


def recompute_metrics(
    repo: LockedRepo, tasks: "Mapping[str, Task]", *, same_code: bool
) -> tuple[list[Finding], list[FigureFile]]:
    """Return for each stage of the requested tasks whether what is in git follows from its sources.

    Args:
        repo: a clone, whose folder data/prepare is written. Its code may have been deleted.
        tasks: those of its params.
        same_code: whether the revision has the code of this project. If not, its own code may give what
            this project's does not: such results are not checked instead of outside.

    Returns:
        The findings, and the files of figures of the tasks whose data could be prepared.
    """
    with contextlib.chdir(repo.root):
        findings, figures = _recompute_tasks(repo, tasks)
    if not same_code:
        findings = [_excused(finding) for finding in findings]
    return findings, figures


def _recompute_tasks(
    repo: LockedRepo, tasks: "Mapping[str, Task]"
) -> tuple[list[Finding], list[FigureFile]]:
    findings: list[Finding] = []
    figures: list[FigureFile] = []
    recomputations: dict[str, Recomputation] = {}
    for name in requested_tasks(repo):
        finding = _prepare_again(repo, tasks[name]) if name in tasks else _unknown_task(name)
        findings.append(finding)
        if finding.verdict is not Verdict.BITWISE:
            continue
        findings += _collect(f"pack@{name}", _check_task(tasks[name], recomputations))
        figures += count_figures(tasks[name], recomputations.get(name))
    if "compare" in repo.stages and "compare" in repo.requested:
        comparison = _verdicts("compare", check_comparison(tasks, recomputations), Verdict.AGREES)
        findings += _collect("compare", comparison)
    return findings, figures


def _unknown_task(name: str) -> Finding:
    line = f"params.yaml has no task {name}, and dvc.yaml has its stages"
    return Finding.outside(f"prepare@{name}", Disagreement(Cause.SURPLUS, line, "dvc.yaml"))


def _excused(finding: Finding) -> Finding:
    if finding.verdict is not Verdict.OUTSIDE:
        return finding
    reason = f"{finding.reason} (by this verifier's code, from which the revision's differs)"
    return Finding(finding.stage, Verdict.UNCHECKED, reason)


def _collect(stage: str, findings: Iterator[Finding]) -> list[Finding]:
    """Return findings up to an error, which is a further one, of `stage`."""
    collected = []
    try:
        for finding in findings:
            collected.append(finding)  # noqa: PERF402 (those before an error are kept)
    except (UserError, *DAMAGED) as error:
        collected.append(Finding.outside(stage, _damage(error)))
    return collected


def _damage(error: Exception, files: str = "the files in git") -> Disagreement:
    if isinstance(error, UserError):
        return Disagreement(Cause.FIGURE, str(error))
    line = f"{files} are not as the stages write them ({error!r})"
    return Disagreement(Cause.PAGE, line)


def _prepare_again(repo: LockedRepo, task: "Task") -> Finding:
    """Return the verdict on `prepare` of a task, run again by this project's code."""
    from stages.core.files import write_all
    from stages.core.progress import set_stage

    stage = f"prepare@{task.name}"
    reason = command_disagreement(repo, stage)
    if reason:
        return Finding.outside(stage, Disagreement(Cause.COMMAND, reason, "dvc.yaml"))
    for key, path in task.input_paths().items():
        if not Path(path).resolve().is_relative_to(repo.root):
            reason = f"{task.key(key)}: {path} is outside the repository; it is not read"
            return Finding(stage, Verdict.UNCHECKED, reason)
    folder = task.folder("prepare")
    shutil.rmtree(folder, ignore_errors=True)
    set_stage(stage)
    try:
        write_all(folder, task.module("prepare").prepare(task, folder).files())
    except EvidenceError as error:
        return Finding.outside(stage, Disagreement(Cause.SAMPLES, f"it fails: {error}"))
    except (UserError, *DAMAGED) as error:  # this machine may be the cause
        return Finding(stage, Verdict.UNCHECKED, f"it fails: {error}")
    comparison = repo.compare_outputs(stage)
    paths = comparison.differing + comparison.missing
    if paths:
        line = f"{paths[0]}: the raw data in git give other samples than dvc.lock says"
        return Finding.outside(stage, Disagreement(Cause.SAMPLES, line, paths[0]))
    return Finding(stage, Verdict.BITWISE)


def _check_task(task: "Task", recomputations: "dict[str, Recomputation]") -> Iterator[Finding]:
    """Yield the findings on a prepared task; put its recomputed evaluation into `recomputations`."""
    from stages.datasets.dataset import read_dataset

    _require_narrow_tables(task)
    dataset = read_dataset(task)
    stage = f"prepare@{task.name}"
    yield from _verdicts(stage, check_dataset(task, dataset), Verdict.BITWISE)
    stage = f"evaluate@{task.name}"
    try:
        recomputation = task.module("recompute").recompute(task, dataset)
    except (UserError, *DAMAGED) as error:
        files = f"predictions.csv and the tables beside it in {task.evidence}/data"
        yield Finding.outside(stage, _damage(error, files))
        return
    recomputations[task.name] = recomputation
    yield from _verdicts(stage, check_evaluation(task, recomputation), Verdict.AGREES)
    stage = f"pack@{task.name}"
    yield from _verdicts(stage, check_pack(task, dataset, recomputation), Verdict.AGREES)


def _require_narrow_tables(task: "Task") -> None:
    """Check that the tables of a pack can be read in any sensible time: pandas compares names of columns.

    Raises:
        UserError: one has far more columns than any that a stage writes.
    """
    for path in sorted((task.evidence / "data").glob("*.csv")):
        with path.open("rb") as file:
            count = 1 + file.readline(_LONGEST_HEADING).count(b",")
        if count > _MOST_COLUMNS:
            raise UserError(f"{path} has {count:,} columns or more; no stage writes so many")


def _verdicts(
    stage: str, disagreements: Iterator[Disagreement], good: Verdict
) -> Iterator[Finding]:
    """Yield a finding for each disagreement, or one with the verdict `good`."""
    empty = True
    for disagreement in disagreements:
        empty = False
        yield Finding.outside(stage, disagreement)
    if empty:
        yield Finding(stage, good)
