"""The clone in which an experiment runs, and the commit by which DVC knows the experiment.

`python -m stages.tools.experiment_clone TASK KEY=VALUE ...` runs it in the current folder, a clone that
`make_ready` has made ready.
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_json, to_json, write
from stages.core.progress import LINE_SECONDS
from stages.core.repositories import git
from stages.tools import scratch

if TYPE_CHECKING:
    from stages.core.task import Task

_ROOT = Path()
_REFERENCE = "refs/evidence/experiment"  # in the clone
_OUTCOME = Path(".dvc/tmp/experiment.json")  # git ignores it
_IDENTITY = re.compile(r"(.*) <(.*)> \d+ [+-]\d+")
# Where git knows no name of the user: nobody else sees the commit.
_NO_IDENTITY = ("evidence", "evidence@localhost")
_LAST_ORDINARY_STATUS = 127  # a shell reports a signal above it, Python below 0


def command(task: str, changes: Sequence[object]) -> tuple[str, ...]:
    """Return the command that runs an experiment in its clone.

    Args:
        task: by name.
        changes: of params, as KEY=VALUE.
    """
    return ("python", "-m", "stages.tools.experiment_clone", task, *map(str, changes))


def make_ready(clone: Path, task: "Task", inputs: Sequence[str] = ()) -> None:
    """Give a clone the data, the DVC cache and the committer of the project.

    Args:
        clone: of the project in the current folder.
        task: that runs in it.
        inputs: files and folders that git does not hold; data are linked, the others copied.
    """
    from stages.tools.verify.rerun import local_cache

    scratch.link_local_inputs(clone, task)
    for path in map(Path, inputs):
        target = clone / path
        if path.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy)(path, target)
    cache = local_cache(str(_ROOT.resolve())) or str((_ROOT / ".dvc/cache").resolve())
    settings = f"[cache]\n    dir = {cache}\n"
    (clone / ".dvc/config.local").write_text(settings, encoding="utf-8")
    for key, value in zip(("user.name", "user.email"), _committer(), strict=True):
        git(clone, "config", key, value)


def git_identity() -> dict[str, str]:
    """Return the variables that say who commits: DVC keeps an experiment as a commit."""
    variables = ("GIT_AUTHOR_", "GIT_COMMITTER_")
    return {key: value for key, value in os.environ.items() if key.startswith(variables)}


def _committer() -> tuple[str, ...]:
    try:
        identity = git(_ROOT, "var", "GIT_COMMITTER_IDENT", extra_environment=git_identity())
    except UserError:
        return _NO_IDENTITY
    match = _IDENTITY.fullmatch(identity)
    return match.groups() if match else _NO_IDENTITY


def read_error(clone: Path) -> str:
    """Return the line on which the experiment of a clone failed, "" if it did not."""
    return str(read_json(clone / _OUTCOME)["error"])


def fetch(clone: Path, name: str) -> None:
    """Fetch the commit of an experiment from its clone, under the reference by which DVC finds it.

    Args:
        clone: in which it ran.
        name: of the experiment.
    """
    base = git(clone, "rev-parse", "HEAD")
    reference = f"refs/exps/{base[:2]}/{base[2:]}/{name}"
    git(_ROOT, "fetch", "--quiet", "--no-tags", str(clone), f"+{_REFERENCE}:{reference}")


def main() -> int:
    """Run the experiment that the command line names, and commit its results; return the exit status.

    It may be killed at any time: the same command runs what is left.
    """
    from dvc.utils.hydra import apply_overrides

    from stages.kinds.params import FILE
    from stages.tools.repro.targets import run_targets

    task, *changes = sys.argv[1:]
    error, outputs = "", list[str]()
    try:
        apply_overrides(FILE, changes)
        run = run_targets([f"pack@{task}"], progress_seconds=LINE_SECONDS)
        if not 0 <= run.status <= _LAST_ORDINARY_STATUS:
            return run.status  # a stage was killed
        error, outputs = run.error, [*run.outputs_in_git]
    except UserError as problem:
        error = str(problem)
    if not error:
        _commit(outputs, f"experiment {' '.join(changes)}")
    write(_OUTCOME, to_json({"error": error}))
    return 0


def _commit(outputs: Sequence[str], message: str) -> None:
    """Commit the work tree on top of HEAD, which stays where it is."""
    git(_ROOT, "add", "--update")
    git(_ROOT, "add", "--", *outputs)
    tree = git(_ROOT, "write-tree")
    commit = git(_ROOT, "commit-tree", "-p", "HEAD", "-m", message, tree)
    git(_ROOT, "update-ref", _REFERENCE, commit)


if __name__ == "__main__":
    sys.exit(main())
