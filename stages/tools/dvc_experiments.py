"""DVC experiments of one task: running one in a clone, and applying it to the work tree."""

import hashlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError, printable
from stages.core.processes import last_line, run_command, scratch_folder
from stages.core.progress import set_stage
from stages.core.repositories import git
from stages.tools import experiment_clone, scratch

if TYPE_CHECKING:
    from stages.core.task import Task

_ROOT = Path()
_NAME_LENGTH = 40
# Clones are made beside DVC's cache, of which large data are linked where the file system can.
FOLDER = Path(".dvc/tmp/experiments")


# Runs experiments of a task with inputs that git does not hold; yields name and error of each, in order.
ExperimentRunner = Callable[
    [Sequence[Sequence["Change"]], "Task", Sequence[str]], Iterator[tuple[str, str]]
]


@dataclass(frozen=True)
class Change:
    """A param and its new value, as text: `tasks.workshop.train.epochs` and `18`."""

    key: str
    value: str

    def __str__(self) -> str:
        """Return it as `dvc exp run -S` takes it."""
        return f"{self.key}={self.value}"


def run_experiment(
    changes: Sequence[Change], task: "Task", inputs: Sequence[str]
) -> tuple[str, str]:
    """Run the task with changes in a clone, as an experiment of DVC; the work tree stays as it is.

    Changes of the work tree that no commit has are part of it, as with `dvc exp run`. Stages that the
    changes do not affect come from DVC's cache.

    Args:
        changes: of params.
        task: to run, up to its pack.
        inputs: files and folders that git does not hold.

    Returns:
        The experiment's name, and the line on which it failed ("" if it did not).
    """
    name = experiment_name(changes)
    remove_experiment(name)  # it was tried before
    print(f"running {', '.join(map(str, changes))}", file=sys.stderr)
    start = time.monotonic()

    def show(line: str) -> None:
        print(f"{time.monotonic() - start:5.0f} s  {printable(line.rstrip())}", file=sys.stderr)

    with scratch_folder(FOLDER) as folder:
        clone = scratch.clone_work_tree(folder / "clone")
        experiment_clone.make_ready(clone, task, inputs)
        result = run_command(clone, *experiment_clone.command(task.name, changes), on_line=show)
        if result.returncode:
            return name, last_line(result.stderr) or f"exit status {result.returncode}"
        error = experiment_clone.read_error(clone)
        if not error:
            experiment_clone.fetch(clone, name)
    set_stage("")  # the next line of progress is due an interval from now
    return name, error


def run_experiments(
    experiments: Sequence[Sequence[Change]], task: "Task", inputs: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Run experiments, each when it is asked for; yield what `run_experiment` returns of each."""
    for changes in experiments:
        yield run_experiment(changes, task, inputs)


def experiment_name(changes: Sequence[Change]) -> str:
    """Return a name for DVC: the changes in letters that it allows, and a digest of them."""
    text = " ".join(map(str, changes))
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    letters = re.sub(r"[^a-z0-9]+", "-", text.lower().replace("tasks.", ""))
    return f"{letters.strip('-')[:_NAME_LENGTH]}-{digest}"


def remove_experiment(name: str) -> None:
    """Remove an experiment from DVC's list, if it is there."""
    if references(name):
        run_dvc("exp", "remove", name)


def read_file(name: str, path: Path) -> str:
    """Return the text of a file that git holds of an experiment.

    Raises:
        UserError: DVC has no such experiment, or it has no such file.
    """
    revisions = references(name)
    if not revisions:
        raise UserError(f"DVC has no experiment {name!r}; see `dvc exp show`")
    return git(_ROOT, "show", f"{revisions[0]}:{path.as_posix()}") + "\n"


def run_dvc(*arguments: str) -> list[str]:
    """Run a DVC command; return the lines that it printed if it failed, none if it did not."""
    result = run_command(
        _ROOT, "dvc", *arguments, extra_environment=experiment_clone.git_identity()
    )
    if result.returncode == 0:
        return []
    lines = (result.stdout + result.stderr).split("\n")
    return [line.strip() for line in lines if line.strip()] or [
        f"dvc ended with exit status {result.returncode}"
    ]


def references(name: str, repository: Path = _ROOT) -> list[str]:
    """Return the git references of DVC experiments of this name, the newest first."""
    format_ = ("--sort=-creatordate", "--format=%(refname)")
    names = git(repository, "for-each-ref", *format_, "refs/exps").split("\n")
    return [reference for reference in names if reference.endswith(f"/{name}")]


def apply_experiment(task: "Task", key: str, expected: object, name: str) -> str:
    """Apply an experiment to the work tree; return why that was not possible, "" if it was.

    `dvc exp apply` also restores the outputs of all other tasks, and fails where the cache lacks them,
    after it has applied the change. Then this task's outputs are restored by themselves.

    Args:
        task: whose outputs are restored.
        key: of the param that the experiment changed.
        expected: its value in the experiment.
        name: of the experiment.
    """
    from stages.core.params import read_yaml
    from stages.core.task import STAGES
    from stages.kinds.params import FILE

    lines = run_dvc("exp", "apply", name)
    if not lines:
        _delete_stale_files(task, name)
        return ""
    value: Any = read_yaml(FILE)
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    applied = value == expected
    if applied and not run_dvc("checkout", *(f"{stage}@{task.name}" for stage in STAGES)):
        _delete_stale_files(task, name)
        return ""
    return lines[-1]


def _delete_stale_files(task: "Task", name: str) -> None:
    """Delete files of the earlier pack that an applied experiment does not have and git did not hold."""
    for folder in (task.evidence / "data", task.evidence / "pictures"):
        listing = ("ls-tree", "-r", "--name-only", references(name)[0], f"{folder.as_posix()}/")
        present = set(git(_ROOT, *listing).split("\n"))
        for path in folder.rglob("*"):
            if path.is_file() and path.as_posix() not in present:
                path.unlink()
