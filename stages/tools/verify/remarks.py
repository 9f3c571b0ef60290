"""Choices of a revision that no tier can prove right or wrong, and that a reader should look at."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.tools.verify.code import CODE
from stages.tools.verify.lock import LOCK
from stages.tools.verify.pipeline import foreign_stages, is_of_this_project, tasks_of

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.tools.verify.lock import LockedRepo

_USUAL_CONFIDENCE = 0.95
_VALUE_LENGTH = 60  # characters of a value
# Sections whose values decide what a result is held against, and how strictly.
_STANDARDS = ("baseline", "evaluate")


def remarks(repo: "LockedRepo", tasks: "Mapping[str, Task] | None") -> list[str]:
    """Return in words what was chosen otherwise than by default, and what the pipeline does not have.

    Args:
        repo: a clone.
        tasks: those of its params; None if these do not fit the schema of this project.
    """
    notes = [
        f"{name} is frozen: `dvc repro` does not run it"
        for name, stage in repo.stages.items()
        if stage.cmd and stage.frozen
    ]
    if not is_of_this_project(repo):
        return notes
    notes += [*foreign_stages(repo), *_stale_entries(repo)]
    statements = len(list((repo.root / "evidence/reproductions").glob("*.json")))
    if statements:
        notes.append(
            f"evidence/reproductions has {statements} statements, not checked here: "
            "`evidence attestation check` checks who signed them"
        )
    notes += [
        f"{path.relative_to(repo.root)} is no output of a stage: its experiments are taken on trust"
        for path in sorted(repo.root.glob("evidence/*/experiments.csv"))
        if path.read_bytes().count(b"\n") > 1
    ]
    if tasks is None:
        return notes
    try:
        defaults = tasks_of(CODE)
    except UserError:
        defaults = {}
    for task in tasks.values():
        notes += _task_remarks(task, defaults.get(task.name))
    return notes


def _stale_entries(repo: "LockedRepo") -> Iterator[str]:
    """Yield the entries of the root's dvc.lock for stages that dvc.yaml does not have."""
    for name in repo.locks.get(repo.root / LOCK, {}):
        if name not in repo.stages:
            yield f"{LOCK} has an entry of {name}, which dvc.yaml does not have"


def _task_remarks(task: "Task", default: "Task | None") -> Iterator[str]:
    params = task.params.model_dump()
    confidence = params["evaluate"].get("confidence", _USUAL_CONFIDENCE)
    if confidence < _USUAL_CONFIDENCE:
        yield f"{task.key('evaluate.confidence')} is {confidence:g}, below {_USUAL_CONFIDENCE:g}"
    for path in ("train.seeds", "evaluate.sampling_seeds"):
        section, key = path.split(".")
        seeds = params[section].get(key)
        if seeds is not None and sorted(seeds) != list(range(len(seeds))):
            yield f"{task.key(path)} is {seeds}: not the first {len(seeds)}, so they may be chosen"
    split_seed = (params["prepare"].get("split") or {}).get("seed", 0)
    if split_seed:
        yield f"{task.key('prepare.split.seed')} is {split_seed}, not 0, so it may be chosen"
    if default is None or default.kind != task.kind:
        return
    for section in _STANDARDS:
        expected = default.params.model_dump()[section]
        for key, value, usual in _differences(params[section], expected):
            yield f"{task.key(section)}.{key} is {_short(value)}, here {_short(usual)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}..."


def _differences(
    values: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted({*values, *usual}):
        pair = values.get(key), usual.get(key)
        if isinstance(pair[0], Mapping) and isinstance(pair[1], Mapping):
            yield from _differences(pair[0], pair[1], f"{prefix}{key}.")
        elif pair[0] != pair[1]:
            yield f"{prefix}{key}", *pair
