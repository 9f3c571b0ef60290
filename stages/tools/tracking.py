"""How a task's data reach other places: git, DVC, or a path outside the repository.

Experiments, `evidence verify` and other machines start from what git and DVC hold. `evidence new` lets DVC
track data that neither of them holds, and `evidence remove` undoes that.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.processes import run_command
from stages.core.repositories import git
from stages.kinds.sources import dvc_pointer

if TYPE_CHECKING:
    from stages.core.task import Task

_ROOT = Path()
_DESCRIPTION = "data of the task {name}, added by evidence new"


class Storage(StrEnum):
    """Who holds a file or folder."""

    GIT = "git"
    DVC = "DVC"
    OUTSIDE = "outside"  # of the repository
    UNTRACKED = "untracked"


@dataclass(frozen=True)
class Tracking:
    """Who holds a path.

    Attributes:
        storage: who.
        pointer: of what DVC holds, the .dvc file.
        complete: whether git holds all files below the path, where it holds one.
    """

    storage: Storage
    pointer: Path | None = None
    complete: bool = True


def tracking_of(path: str) -> Tracking:
    """Return who holds the file or folder `path`, as params.yaml names it."""
    if not is_inside(path):
        return Tracking(Storage.OUTSIDE)
    if pointer := dvc_pointer(path):
        return Tracking(Storage.DVC, pointer)
    if not _has_files(Path(path)):
        return Tracking(Storage.UNTRACKED)
    return Tracking(Storage.GIT, complete=not _lacks_files(Path(path)))


def is_inside(path: str) -> bool:
    """Return whether a path lies in this repository, links followed."""
    return Path(path).resolve().is_relative_to(_ROOT.resolve())


def track(path: str, name: str) -> list[Path]:
    """Let DVC track the data of the task `name`; return the files that are new or changed.

    DVC copies the data into its cache, writes a .dvc file beside them, and names them in .gitignore. The
    .dvc file says for which task it was made.

    Raises:
        UserError: DVC cannot track it.
    """
    from stages.core.files import write

    result = run_command(_ROOT, "dvc", "add", "--quiet", "--", path)
    if result.returncode:
        lines = [line for line in result.stderr.split("\n") if line.strip()]
        reason = lines[0].removeprefix("ERROR: ") if lines else f"exit status {result.returncode}"
        raise UserError(
            f"dvc add {path}: {reason}; with --no-track the task is added and its data are left as they are"
        )
    pointer = Path(f"{path}.dvc")
    try:
        content = pointer.read_text(encoding="utf-8")
        write(pointer, f"desc: {_DESCRIPTION.format(name=name)}\n{content}")
    except BaseException:
        run_command(_ROOT, "dvc", "remove", pointer.as_posix())
        raise
    return [pointer, pointer.with_name(".gitignore")]


def untrack(path: str, name: str, other_paths: Iterable[str]) -> tuple[list[Path], str]:
    """Undo `track`; the data stay where they are.

    Args:
        path: of the data, as params.yaml names it.
        name: of the task.
        other_paths: of the other tasks' data.

    Returns:
        The deleted .dvc file, if any, and why the tracking stays ("" if it does not, or was not made by
        `track`).
    """
    pointer = Path(f"{path}.dvc")
    if not is_inside(path) or not _was_tracked_for(pointer, name):
        return [], ""
    data = Path(path).absolute()
    shared = [item for item in other_paths if Path(item).absolute().is_relative_to(data)]
    if shared:
        return [], f"{pointer} stays: another task reads {shared[0]}"
    if not data.exists():  # the .dvc file is all that leads to them
        return [], f"{pointer} stays: {path} is not here, and the file says where DVC has it"
    for command in (("unprotect", path), ("remove", pointer.as_posix())):
        result = run_command(_ROOT, "dvc", *command)
        if result.returncode:
            return (
                [],
                f"{pointer} stays: dvc {command[0]} failed; `dvc remove {pointer}` repeats it",
            )
    return [pointer], ""


def _was_tracked_for(pointer: Path, name: str) -> bool:
    if not pointer.is_file():
        return False
    lines = pointer.read_text(encoding="utf-8", errors="replace").split("\n")
    return f"desc: {_DESCRIPTION.format(name=name)}" in lines


def untracked_inputs(task: "Task") -> list[str]:
    """Return the files and folders that the task needs and git does not hold, .dvc files included.

    An experiment runs in a clone, which gets copies of these.

    Raises:
        UserError: the data are named by a relative path to a place outside the repository, which means
            another place in another folder; or git holds a part of an input.
    """
    from stages.evaluation.experiment_log import LOG
    from stages.report.review import FOLDER

    path = task.params.prepare.path
    tracking = tracking_of(path)
    if tracking.storage is Storage.OUTSIDE and not Path(path).is_absolute():
        raise UserError(
            f"{task.key('prepare.path')}: given {path!r}, outside the repository; an experiment runs in "
            f"another folder, so give the absolute path {str(Path(path).resolve())!r} and run dvc repro "
            f"pack@{task.name}, or move the data into the repository"
        )
    log = task.evidence / LOG if _has_files(task.evidence) else task.evidence
    inputs = [FOLDER / f"{task.name}.md", log]
    if tracking.pointer:
        inputs.append(tracking.pointer)
    elif tracking.storage is not Storage.OUTSIDE:
        inputs.append(Path(path))
    weights = [file for key, file in task.input_paths().items() if key != "prepare.path"]
    inputs += [Path(file) for file in weights if Path(file).exists() and is_inside(file)]
    untracked = [item for item in inputs if _lacks_files(item)]
    for item in untracked:
        if _has_files(item):
            raise UserError(
                f"git does not hold all of {item}, which an experiment needs; run git add {item}"
            )
    return [item.as_posix() for item in untracked]


def _has_files(path: Path) -> bool:
    """Return whether git holds a file at or below a path."""
    return bool(git(_ROOT, "ls-files", "--", _literal(path)))


def _lacks_files(path: Path) -> bool:
    """Return whether there is a file at or below a path that git does not hold."""
    return bool(git(_ROOT, "ls-files", "--others", "--directory", "--", _literal(path)))


def _literal(path: Path) -> str:
    return f":(literal){path.as_posix()}"
