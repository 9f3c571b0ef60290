"""The tier metrics: samples, metrics, tables, plots and pages, computed again from the files in git.

The code of this project computes them, not that of the revision; so both have to be the same.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import EVIDENCE_ERROR_STATUS, UserError
from stages.core.processes import last_line, run_commands
from stages.evaluation.experiments import LOG
from stages.tools.tolerance import flatten
from stages.tools.verify.lock import LockedRepo
from stages.tools.verify.pipeline import command_disagreement, differing_code, requested_tasks
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.report.recompute import Recomputation

# What reading a file with other columns, keys or types raises.
DAMAGED = (OSError, LookupError, ValueError, TypeError, AttributeError)
_PARALLEL = 2
_PICTURE = re.compile(r'"data:image/[^"]*"')


def recompute_metrics(repo: LockedRepo) -> list[Finding]:
    """Return for each stage of the requested tasks whether what is in git follows from its sources.

    The stage prepare is run again, with the revision's own code.
    """
    code = differing_code(repo)
    if code:
        reason = (
            f"{code} of this revision is not the code that verifies; check it out and verify there"
        )
        return [Finding(name, Verdict.UNCHECKED, reason) for name in repo.stages]
    findings = _prepare_again(repo, requested_tasks(repo))
    prepared = [
        finding.stage.partition("@")[2]
        for finding in findings
        if finding.verdict is Verdict.BITWISE
    ]
    with contextlib.chdir(repo.root):
        from stages.kinds.params import load_params, load_tasks

        tasks = load_tasks(load_params())
        recomputations: dict[str, Recomputation] = {}
        for name in prepared:
            findings += _collect(f"pack@{name}", _check_task(tasks[name], recomputations))
        if "compare" in repo.stages:
            findings += _collect("compare", _check_comparison(tasks, recomputations))
    return findings


def _collect(stage: str, findings: Iterator[Finding]) -> list[Finding]:
    """Return findings up to an error, which is a further one, of `stage`."""
    collected = []
    try:
        for finding in findings:
            collected.append(finding)  # noqa: PERF402 (those before an error are kept)
    except (UserError, *DAMAGED) as error:
        collected.append(Finding(stage, Verdict.OUTSIDE, _explain(error)))
    return collected


def _explain(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    return f"the files in git are not as the stages write them ({error!r})"


def _prepare_again(repo: LockedRepo, tasks: Sequence[str]) -> list[Finding]:
    """Return the verdict on `prepare` of each task, run again; another command is not run."""
    reasons = {task: command_disagreement(repo, f"prepare@{task}") for task in tasks}
    valid = [task for task in tasks if not reasons[task]]
    commands = [(repo.root, ("python", "-m", "stages.prepare", task)) for task in valid]
    results = [
        result
        for start in range(0, len(commands), _PARALLEL)
        for result in run_commands(commands[start : start + _PARALLEL])
    ]
    return [
        *(
            Finding(f"prepare@{task}", Verdict.OUTSIDE, reason)
            for task, reason in reasons.items()
            if reason
        ),
        *(
            _prepare_verdict(repo, f"prepare@{task}", result)
            for task, result in zip(valid, results, strict=True)
        ),
    ]


def _prepare_verdict(repo: LockedRepo, stage: str, result: "CompletedProcess[str]") -> Finding:
    if result.returncode:
        # Any other failure may be due to this machine.
        contradicts = result.returncode == EVIDENCE_ERROR_STATUS
        verdict = Verdict.OUTSIDE if contradicts else Verdict.UNCHECKED
        return Finding(stage, verdict, f"running it again fails: {last_line(result.stderr)}")
    differing, missing = repo.differing(stage)
    if differing or missing:
        path = (differing + missing)[0]
        reason = f"{path}: the raw data in git give other samples than dvc.lock says"
        return Finding(stage, Verdict.OUTSIDE, reason)
    return Finding(stage, Verdict.BITWISE)


def _check_task(task: "Task", recomputations: "dict[str, Recomputation]") -> Iterator[Finding]:
    """Yield the findings on a prepared task; put its recomputed evaluation into `recomputations`."""
    from stages.datasets.dataset import read_dataset

    dataset = read_dataset(task)
    stage = f"prepare@{task.name}"
    yield from _verdicts(stage, _check_dataset(task, dataset), Verdict.BITWISE)
    stage = f"evaluate@{task.name}"
    try:
        recomputation = task.module("recompute").recompute(task, dataset)
    except (UserError, *DAMAGED) as error:
        yield Finding(stage, Verdict.OUTSIDE, _explain(error))
        return
    recomputations[task.name] = recomputation
    yield from _verdicts(stage, _check_evaluation(task, recomputation), Verdict.AGREES)
    stage = f"pack@{task.name}"
    yield from _verdicts(stage, _check_pack(task, dataset, recomputation), Verdict.AGREES)


def _verdicts(stage: str, reasons: Iterator[str], good: Verdict) -> Iterator[Finding]:
    """Yield a finding for each reason, or one with the verdict `good`."""
    empty = True
    for reason in reasons:
        empty = False
        yield Finding(stage, Verdict.OUTSIDE, reason)
    if empty:
        yield Finding(stage, good)


def _check_dataset(task: "Task", dataset: "Dataset") -> Iterator[str]:
    from stages.core.files import read_json
    from stages.datasets.dataset import read_dataset

    for fold in task.folds():
        yield from cross_split_groups(read_dataset(fold))
    path = task.evidence / "data" / "dataset_note.json"
    note = read_json(path)
    if note != dataset.note:
        key = next(
            key for key in {**note, **dataset.note} if note.get(key) != dataset.note.get(key)
        )
        yield (
            f"{path}: {key} is {note.get(key)!r}, the data in git give {dataset.note.get(key)!r}"
        )


def cross_split_groups(dataset: "Dataset") -> Iterator[str]:
    """Yield the first group that is in several splits, if there is one."""
    if dataset.note["grouped"]:
        splits = dataset.samples.groupby("group", observed=True)["split"].nunique()
        for group in splits.index[splits > 1][:1]:
            yield f"the group {group!r} is in several splits: test samples are not independent"


def _check_evaluation(task: "Task", recomputation: "Recomputation") -> Iterator[str]:
    from stages.core.files import read_json, to_csv

    artifacts = {artifact.name: artifact for artifact in task.module("artifacts").artifacts(task)}
    path = artifacts["metrics"].pack_path(task)
    precision = recomputation.precision
    yield from differences(path, read_json(path), recomputation.metrics, precision)
    for name, table in recomputation.tables.items():
        path = artifacts[name].pack_path(task)
        content, expected = path.read_bytes(), to_csv(table)
        if content != expected:
            yield f"{path}: {_first_difference(content, expected)}"


def differences(path: Path, committed: Any, recomputed: Any, precision: float = 0) -> Iterator[str]:
    """Yield which values of a JSON file differ from those computed again.

    Args:
        path: of the file.
        committed: its content.
        recomputed: the same computed again, not rounded yet.
        precision: by how much numbers may differ.
    """
    from stages.core.files import round_floats

    before, after = flatten(committed), flatten(round_floats(recomputed))
    for key in sorted(before.keys() | after.keys()):
        values = before.get(key), after.get(key)
        is_close = (
            isinstance(values[0], float)
            and isinstance(values[1], float)
            and abs(values[0] - values[1]) <= precision
        )
        if values[0] != values[1] and not is_close:
            yield f"{path}: {key} is {values[0]!r}, computed again from the files in git {values[1]!r}"


def _check_pack(task: "Task", dataset: "Dataset", recomputation: "Recomputation") -> Iterator[str]:
    """Yield which files of the pack differ from what its data give; pictures are left out."""
    _restore_outputs(task, dataset, recomputation)
    expected = task.module("pack").pack(task).files()
    names = {
        path.relative_to(task.evidence).as_posix()
        for path in task.evidence.rglob("*")
        if path.is_file() and path != task.evidence / LOG
    }
    for name in sorted(names ^ expected.keys()):
        reason = "the pack has no such file" if name in names else "is missing"
        yield f"{task.evidence}/{name}: {reason}"
    for name in sorted(names & expected.keys()):
        if name.startswith("pictures/"):
            continue
        content, recomputed = (task.evidence / name).read_bytes(), expected[name]
        if name.endswith(".html"):
            content, recomputed = _without_pictures(content), _without_pictures(recomputed)
        if content != recomputed:
            yield f"{task.evidence}/{name}: {_first_difference(content, recomputed)}"


def _restore_outputs(task: "Task", dataset: "Dataset", recomputation: "Recomputation") -> None:
    """Write the outputs of the stages from the pack, as far as it has them.

    Pixels, which git does not have, are black, and the pictures drawn from them are not compared.
    """
    import numpy as np

    from stages.core.files import write, write_all

    kind = task.module("artifacts")
    for artifact in kind.artifacts(task):
        write(artifact.path(task), artifact.pack_path(task).read_bytes())
    folder = task.folder("evaluate")
    for name, plots in (
        ("plots", recomputation.plots),
        ("baseline_plots", recomputation.baseline_plots),
    ):
        write_all(folder / name, {f"{plot}.csv": table for plot, table in plots.items()})
    for path, shapes in kind.picture_arrays(task, dataset).items():
        write(path, {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()})


def _without_pictures(page: bytes) -> bytes:
    return _PICTURE.sub('""', page.decode(errors="replace")).encode()


def _first_difference(content: bytes, expected: bytes) -> str:
    """Return in words where two texts begin to differ."""
    texts = [text.decode(errors="replace").split("\n") for text in (content, expected)]
    lines = next((pair for pair in zip(*texts, strict=False) if pair[0] != pair[1]), None)
    if lines is None:
        return f"has {len(texts[0])} lines, its data give {len(texts[1])}"
    position = next(
        (index for index, pair in enumerate(zip(*lines, strict=False)) if pair[0] != pair[1]),
        min(map(len, lines)),
    )
    parts = [line[max(0, position - 30) : position + 30] for line in lines]
    return f"says {parts[0]!r}, its data give {parts[1]!r}"


def _check_comparison(
    tasks: "dict[str, Task]", recomputations: "Mapping[str, Recomputation]"
) -> Iterator[Finding]:
    yield from _verdicts("compare", _compare_outputs(tasks, recomputations), Verdict.AGREES)


def _compare_outputs(
    tasks: "dict[str, Task]", recomputations: "Mapping[str, Recomputation]"
) -> Iterator[str]:
    """Yield what differs in the merged metrics and the plots of all tasks.

    Of tasks that were not recomputed only the names are compared.
    """
    from stages.compare import METRICS, PLOTS
    from stages.core.files import read_json, to_csv, to_json
    from stages.kinds.registry import KINDS

    merged = read_json(METRICS)
    metrics = {
        name: read_json(tasks[name].evidence / "data" / "metrics.json")["current"]
        for name in recomputations
    }
    reasons = [
        reason
        for name, current in metrics.items()
        for reason in differences(METRICS, {name: merged.get(name, {})}, {name: current})
    ]
    yield from reasons
    expected = {name: metrics.get(name, merged.get(name)) for name in tasks}
    if not reasons and METRICS.read_bytes() != to_json(expected):
        yield f"{METRICS}: the stage compare writes the tasks {', '.join(tasks)}, and no key twice"
    plots = {
        PLOTS / plot / f"{name}.csv": (name, plot)
        for name, task in tasks.items()
        for plot in KINDS[task.kind].plots
    }
    files = {path for path in PLOTS.rglob("*") if path.is_file()}
    for path in sorted(files ^ plots.keys()):
        yield f"{path}: {'the stage compare writes no such plot' if path in files else 'is missing'}"
    for path in sorted(files & plots.keys()):
        name, plot = plots[path]
        if name in recomputations:
            content, table = path.read_bytes(), to_csv(recomputations[name].plots[plot])
            if content != table:
                yield f"{path}: {_first_difference(content, table)}"
