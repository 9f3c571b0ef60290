"""The report of the last run that had nothing to do, which stays true until a file changes.

DVC takes seconds to be imported and to look at all stages. The sizes and times of the project's files, by
which DVC and git recognise unchanged files too, show within hundredths of a second that nothing has changed
since it last did so.
"""

import hashlib
import json
import os
import platform
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.core.errors import UserError
from stages.core.files import write
from stages.core.repositories import git

FILE = Path(".dvc/tmp/repro/up_to_date.json")  # of this work tree; git ignores it
# Seconds for which a changed file may be changed again and keep its time (file systems count up to 2 s).
SETTLING_SECONDS = 2.0


@dataclass(frozen=True)
class Report:
    """What a run with nothing to do prints, and its exit status."""

    text: str
    status: int


def project_state(folder: Path) -> str | None:
    """Return a hash that changes with the files of a project, its commits and tags, and its environment.

    Hidden folders are left out: nothing in them is an input or a result.

    Args:
        folder: of the project, with its `.dvc`.

    Returns:
        None where the hash could miss a change: a folder is a link, a file has just been written, or there
        is no commit.
    """
    if not (folder / ".dvc").is_dir():
        return None
    latest = time.time() - SETTLING_SECONDS
    digest = hashlib.sha256()
    try:
        packages = Path(sysconfig.get_path("purelib")).stat().st_mtime_ns
        environment = (platform.node(), sys.version, sys.prefix, packages)
        digest.update(repr((*environment, git(folder, "show-ref", "--head"))).encode())
        for path, status in _files(str(folder)):
            if status.st_ctime > latest:
                return None
            times = status.st_mtime_ns, status.st_ctime_ns
            digest.update(repr((path, status.st_size, status.st_ino, *times)).encode())
    except (OSError, UserError):
        return None
    return digest.hexdigest()


def _files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all files below a folder, in the same order each time.

    Raises:
        OSError: a folder is a link, of which the target may change unseen; or a file is gone.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.is_dir():
                yield entry.path, entry.stat()
            elif entry.is_symlink():
                raise OSError(f"{entry.path} is a link")
            elif not entry.name.startswith(".") and entry.name != "__pycache__":
                yield from _files(entry.path)


def remembered_report(state: str | None) -> Report | None:
    """Return the report of the last run that had nothing to do, if the state of the project is the same."""
    try:
        content = json.loads(FILE.read_bytes())
        if state is None or content.pop("state") != state:
            return None
        return Report(str(content["text"]), int(content["status"]))
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None  # there is none yet, or it is damaged


def remember_report(state: str, report: Report) -> None:
    """Keep the report of a run that had nothing to do.

    Args:
        state: of the project before that run looked at it.
        report: of the run.
    """
    write(FILE, json.dumps({"state": state, **asdict(report)}, indent=2) + "\n")
