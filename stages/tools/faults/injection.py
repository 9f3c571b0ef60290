"""Injecting a fault into a clone: a patch of its code, or a forged metric."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json, to_json
from stages.core.repositories import git
from stages.tools.faults.catalogue import Fault

if TYPE_CHECKING:
    from stages.core.task import Task

METRICS, LOCK = Path("metrics/metrics.json"), Path("dvc.lock")
_INCREASE = 0.01


def has_groups(project: Path, task: "Task") -> bool | None:
    """Return whether a task's samples have groups, as its dataset note says; None without a note.

    Args:
        project: a work tree; the note is that of the stage prepare, or else that of the pack.
        task: of the project.
    """
    for note in (
        task.folder("prepare") / "dataset.json",
        task.evidence / "data" / "dataset_note.json",
    ):
        if (project / note).exists():
            return bool(read_json(project / note)["grouped"])
    return None


def applies(fault: Fault, task: "Task", project: Path) -> bool:
    """Return whether a fault can be injected into a task and would show.

    Args:
        fault: of the catalogue.
        task: of the project.
        project: a work tree, for the dataset note.
    """
    without_groups = fault.needs_groups and has_groups(project, task) is False
    return task.kind in fault.kinds and not without_groups


def inject(fault: Fault, task: "Task", clone: Path) -> None:
    """Inject a fault into a clone.

    Raises:
        UserError: it does not apply to the task, or its patch does not apply to the code.
    """
    if not applies(fault, task, clone):
        raise UserError(
            f"{fault.name} does not apply to task {task.name} ({task.kind}); `evidence faults list` "
            "shows where each fault applies"
        )
    if fault.forgery:
        forge_metric(clone, task.name, in_lock=fault.forgery == "metric and lock")
    else:
        apply_patch(patch_file(fault, task), clone)


def patch_file(fault: Fault, task: "Task") -> Path:
    """Return the patch that injects a fault into a task.

    Raises:
        UserError: there is none for its kind.
    """
    from stages.kinds.registry import KINDS

    kind = KINDS[task.kind]
    patch = fault.patch(kind.name, kind.modality)
    if patch is None:
        raise UserError(
            f"stages/tools/faults/patches has no {fault.name}.{kind.name}.patch, .{kind.modality}.patch "
            "or .all.patch; write one as stages/tools/faults/catalogue.py describes"
        )
    return patch


def apply_patch(patch: Path, clone: Path) -> None:
    """Apply a patch to the files of a clone, without fuzz.

    Raises:
        UserError: it does not apply to the code as it is.
    """
    # Without the ceiling, git would look for a repository above a clone that has lost its own.
    environment = {"GIT_CEILING_DIRECTORIES": str(clone.resolve().parent)}
    try:
        git(clone, "apply", str(patch), extra_environment=environment)
    except UserError as error:
        raise UserError(
            f"{patch.name} does not apply to the code ({error}); write the patch again as "
            "stages/tools/faults/catalogue.py describes"
        ) from None


def forge_metric(clone: Path, task: str, *, in_lock: bool) -> None:
    """Increase the first figure of a task's metrics in git.

    Args:
        clone: with metrics and lock.
        task: by name.
        in_lock: whether dvc.lock gets the hash of the forged file.

    Raises:
        UserError: dvc.lock does not have the hash of the file in git.
    """
    path, lock = clone / METRICS, clone / LOCK
    original = path.read_bytes()
    metrics = json.loads(original)
    name = next(key for key, value in metrics[task].items() if isinstance(value, float))
    metrics[task][name] += _INCREASE
    path.write_bytes(to_json(metrics))
    if in_lock:
        old, new = _md5(original), _md5(path.read_bytes())
        text = lock.read_text(encoding="utf-8")
        if old not in text:
            raise UserError(f"{LOCK} does not have the hash of {METRICS}; run dvc repro and commit")
        lock.write_text(text.replace(old, new), encoding="utf-8")


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
