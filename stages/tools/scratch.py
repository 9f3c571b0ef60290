"""Scratch clones in which tools run changed code or changed params; the work tree is not touched."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import EVIDENCE_ERROR_STATUS, USER_ERROR_STATUS, UserError
from stages.core.processes import last_line, run_command
from stages.core.repositories import git

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from stages.core.task import Task


def clone_head(folder: Path) -> Path:
    """Clone HEAD of the current folder's repository into `folder`, which must be absent or empty."""
    git(Path(), "clone", "--quiet", ".", str(folder.resolve()))
    return folder


def clone_work_tree(folder: Path) -> Path:
    """Clone HEAD, and give the clone the work tree's changes to the files that git tracks.

    Args:
        folder: which must be absent or empty; a file is made beside it.

    Raises:
        UserError: a merge has left conflicts in them.
    """
    root = Path()
    if conflicts := git(root, "diff", "--name-only", "--diff-filter=U"):
        raise UserError(f"{conflicts.splitlines()[0]}: a conflict of a merge; resolve it first")
    clone_head(folder)
    index = folder.with_name(f"{folder.name}.index").resolve()
    shutil.copy(git(root, "rev-parse", "--path-format=absolute", "--git-path", "index"), index)
    variables = {"GIT_INDEX_FILE": str(index)}  # the work tree's own index stays as it is
    git(root, "add", "--update", extra_environment=variables)
    tree = git(root, "write-tree", extra_environment=variables)
    objects = git(root, "rev-parse", "--path-format=absolute", "--git-path", "objects")
    (folder / ".git/objects/info/alternates").write_text(f"{objects}\n", encoding="utf-8")
    git(folder, "read-tree", "--reset", "-u", tree)
    return folder


def read_tasks(clone: Path) -> "dict[str, Task]":
    """Return the tasks of a clone by name.

    Raises:
        UserError: its params.yaml is missing or wrong.
    """
    from stages.kinds.params import FILE, load_params, load_tasks

    return load_tasks(load_params(clone / FILE))


def link_local_inputs(clone: Path, task: "Task") -> None:
    """Link the data and weights that the task's params name and git does not have into a clone."""
    for name in task.input_paths().values():
        if Path(name).is_absolute():
            continue
        link = clone / name
        if Path(name).exists() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(name).resolve())


def change_params(clone: Path, task: str, changes: Mapping[str, Any]) -> None:
    """Change the params of a task in a clone.

    Args:
        clone: its params.yaml is rewritten.
        task: by name.
        changes: nested as in params.yaml; keys that the task does not have are left out.
    """
    from stages.core.params import read_yaml
    from stages.kinds.params import FILE

    params = read_yaml(clone / FILE)
    _merge(params["tasks"][task], changes)
    (clone / FILE).write_text(json.dumps(params, indent=2) + "\n", encoding="utf-8")  # JSON is YAML


def _merge(section: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(section.get(key), dict):
            _merge(section[key], value)
        elif key in section:
            section[key] = value


def run_stage(clone: Path, stage: str, task: str) -> "CompletedProcess[str]":
    """Run one stage of a task in a clone, without DVC."""
    return run_command(clone, "python", "-m", f"stages.{stage}", task)


def failure_line(stage: str, result: "CompletedProcess[str]") -> str:
    """Return the line with which a stage failed: its user error, or where it crashed."""
    line = last_line(result.stderr) or f"exit status {result.returncode}"
    expected = result.returncode in {USER_ERROR_STATUS, EVIDENCE_ERROR_STATUS}
    return line if expected else f"{stage} crashed: {line}"
