"""Compare the results in the work tree with those of the last commit: the end of `make repro`.

The results are the files of evidence/<task>, metrics/ and plots/. Where they differ, metrics are compared
with the measured tolerance. A task of which params, data or code have changed has new results, and nothing
to compare them with.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stages.core.errors import UserError, exit_on_user_error
from stages.core.machine import FILE as MACHINES
from stages.core.machine import host_record
from stages.core.repositories import git
from stages.evaluation.experiment_log import LOG
from stages.tools.tolerance import FILE as TOLERANCE
from stages.tools.tolerance import Tolerance, flatten
from stages.tools.verify.machines import Machines

OUTSIDE_STATUS = 1
LOCK = "dvc.lock"
PARAMS = "params.yaml"
MERGING_STAGE = "compare"  # writes metrics/ and plots/
FOLDERS = ("evidence", "metrics", "plots")
_LISTED = 3  # metrics or files in a line

Inputs = dict[str, dict[str, Any]]  # stage -> param, file or command -> its value or hash


@dataclass(frozen=True)
class ResultDifference:
    """How the results of a task differ from the committed ones.

    Attributes:
        line: in words, the largest differences of metrics first.
        share: the largest difference of a metric as a share of its tolerance; 0 if all are equal.
        is_outside: whether a metric differs by more than its measured tolerance.
    """

    line: str
    share: float = 0.0
    is_outside: bool = False


@dataclass(frozen=True)
class Reproduction:
    """The comparison of all results: lines for the user, and the exit status."""

    lines: list[str]
    status: int = 0


def reproduction(folder: Path) -> Reproduction:
    """Compare the results in a work tree with those of its last commit.

    Args:
        folder: of the project, in which the pipeline has run.

    Raises:
        UserError: the pipeline has not run.
    """
    from stages.core.params import read_yaml

    try:
        committed = _committed(folder, LOCK)
        before: Inputs = {}
        after: Inputs = {}
        if not _is_text(
            folder / LOCK, committed
        ):  # equal ones need no parsing, which takes a second
            before = stage_inputs(_parse_yaml(committed))
            after = stage_inputs(read_yaml(folder / LOCK))
    except UserError as error:
        return Reproduction([f"no committed results to compare with ({error})"])
    tasks = list(read_yaml(folder / PARAMS)["tasks"])
    changes = {task: changed_input(before, after, f"@{task}") for task in tasks}
    lines = [
        f"{task}: new results, nothing to compare ({change})"
        for task, change in changes.items()
        if change
    ]
    owners = {task for task, change in changes.items() if not change}
    if not owners:
        return Reproduction(lines)
    if not changed_input(before, after, MERGING_STAGE):
        owners |= {MERGING_STAGE} if len(owners) == len(tasks) else set()
    results, differing = (
        {path for path in paths if _owners(path) & owners} for paths in _results(folder)
    )
    if not differing:
        return Reproduction([*lines, f"all {len(results)} results reproduced bit for bit"])
    equal = len(results) - len(differing)
    lines.append(f"{equal} of {len(results)} results reproduced bit for bit, the others differ:")
    differences = _differences(folder, differing, owners)
    lines += [difference.line for difference in differences]
    differing_owners = {owner for path in differing for owner in _owners(path)} & owners
    lines += _other_machines(folder, sorted(differing_owners))
    is_outside = any(difference.is_outside for difference in differences)
    return Reproduction(lines, OUTSIDE_STATUS if is_outside else 0)


def stage_inputs(lock: Any) -> Inputs:
    """Return what each stage of a dvc.lock reads, without what other stages write.

    Args:
        lock: its parsed content.
    """
    stages = lock["stages"]
    outputs = {out["path"] for entry in stages.values() for out in entry.get("outs", [])}
    folders = {parent for out in outputs for parent in _parents(out)}
    inputs: Inputs = {}
    for name, entry in stages.items():
        inputs[name] = {"its command": entry.get("cmd")}
        for dep in entry.get("deps", []):
            path = dep["path"]
            if path not in folders and outputs.isdisjoint([path, *_parents(path)]):
                inputs[name][path] = dep.get("md5")
        for params in entry.get("params", {}).values():
            inputs[name] |= flatten(params)
    return inputs


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents]


def changed_input(before: Inputs, after: Inputs, suffix: str) -> str:
    """Return in words the first input of the stages with a suffix that differs, "" if none does.

    Args:
        before: the committed inputs.
        after: those of the work tree.
        suffix: of the names of the stages: `@image`.
    """
    for stage, inputs in after.items():
        if not stage.endswith(suffix):
            continue
        committed = before.get(stage)
        if committed is None:
            return f"{stage} is not in the last commit"
        for key in sorted(committed.keys() | inputs.keys()):
            if committed.get(key) != inputs.get(key):
                return f"{key} has changed"
    return ""


def _owners(path: str) -> set[str]:
    """Return the task and the stage of which a file is a result; none where it is no result."""
    folder, *parts = Path(path).parts
    if folder == "evidence":
        is_result = len(parts) > 1 and parts[1:] != [LOG]
        return {parts[0]} if is_result else set()
    if folder == "plots":
        return {Path(path).stem}
    return {MERGING_STAGE}


def _results(folder: Path) -> tuple[set[str], set[str]]:
    """Return all results, committed or in the work tree, and those that differ between the two."""
    committed = _paths(folder, "ls-tree", "-r", "-z", "--name-only", "HEAD")
    changed = _paths(folder, "diff", "-z", "--name-only", "--no-ext-diff", "--relative", "HEAD")
    changed |= _paths(folder, "ls-files", "-z", "--others", "--exclude-standard")
    return committed | changed, changed


def _paths(folder: Path, *command: str) -> set[str]:
    return set(filter(None, git(folder, *command, "--", *FOLDERS).split("\0")))


def _is_text(path: Path, text: str) -> bool:
    """Return whether a file holds a text, of which git has removed white space at the ends."""
    return path.is_file() and path.read_text(encoding="utf-8").strip() == text


def _committed(folder: Path, path: str) -> str:
    return git(folder, "show", f"HEAD:./{path}")


def _parse_yaml(text: str) -> Any:
    from stages.core.params import parse_yaml

    try:
        return parse_yaml(text)
    except ValueError:
        raise UserError(f"the committed {LOCK} is damaged") from None


def _differences(folder: Path, paths: Iterable[str], owners: set[str]) -> list[ResultDifference]:
    """Return the differences of each task, the one with the largest share of its tolerance first."""
    try:
        tolerance = Tolerance.parse(json.loads(_committed(folder, TOLERANCE.as_posix())))
    except (UserError, ValueError):
        tolerance = Tolerance()
    differences: list[ResultDifference] = []
    for owner in sorted(owners, key=lambda owner: (owner == MERGING_STAGE, owner)):
        files = sorted(path for path in paths if owner in _owners(path))
        if files and owner == MERGING_STAGE:
            words = "merges the results of the tasks, which differ" if differences else "differs"
            differences.append(ResultDifference(f"{', '.join(files)}: {words}"))
        elif files:
            differences.append(_task_difference(folder, owner, files, tolerance))
    return sorted(differences, key=lambda difference: -difference.share)


def _other_machines(folder: Path, tasks: Iterable[str]) -> list[str]:
    """Return in words on which other machines the committed results of tasks were computed."""
    host = host_record()
    try:
        records = json.loads(_committed(folder, MACHINES.as_posix()))
        recorded = {
            task: {key: records[task]["machine"].get(key, "unknown") for key in host}
            for task in tasks
            if task in records
        }
    except (UserError, AttributeError, KeyError, TypeError, ValueError):
        return []  # damaged: verify says so
    reason = "another processor or version rounds differently, and training amplifies that"
    return [f"{line}; {reason}" for line in Machines(host, recorded).other_machines()]


def _task_difference(
    folder: Path, task: str, files: list[str], tolerance: Tolerance
) -> ResultDifference:
    path = f"evidence/{task}/data/metrics.json"
    listed = f"{task}: {len(files)} files differ"
    try:
        committed = json.loads(_committed(folder, path))
        current = json.loads((folder / path).read_text(encoding="utf-8"))
    except (UserError, OSError, ValueError):
        return ResultDifference(f"{listed}: {_shorten(files)}")
    metrics = sorted(
        tolerance.differences(task, committed, current), key=lambda difference: -difference.share
    )
    if not metrics:
        return ResultDifference(f"{listed}, the metrics are equal: {_shorten(files)}")
    if not (task in tolerance.tasks and tolerance.belongs_to(task, committed)):
        reason = f"measure its tolerance with `evidence tolerance {task}`"
        sizes = [f"{metric.key} {metric.committed} → {metric.rerun}" for metric in metrics]
        return ResultDifference(f"{listed}: {_shorten(sizes)}; {reason}")
    is_outside = any(metric.is_outside for metric in metrics)
    verdict = "outside the tolerance" if is_outside else "within the tolerance"
    line = f"{listed}, {verdict}: {_shorten([str(metric) for metric in metrics])}"
    return ResultDifference(line, metrics[0].share, is_outside)


def _shorten(parts: list[str]) -> str:
    rest = len(parts) - _LISTED
    return "; ".join(parts[:_LISTED]) + (f"; and {rest} more" if rest > 0 else "")


def main() -> None:
    """Print the comparison; exit with 1 where results are outside the tolerance."""
    with exit_on_user_error("reproduction"):
        result = reproduction(Path.cwd())
        print("\n".join(result.lines))
        raise SystemExit(result.status)


if __name__ == "__main__":
    main()
