"""A job: commands that run in a clone of HEAD of their own, and what came of them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.files import read_json, to_json, write
from stages.tools import scratch

CLONE, COMMANDS, PROGRESS, OUTCOME = "clone", "commands.json", "progress.json", "outcome.json"
ERRORS = "errors.txt"


def unchanged(clone: Path) -> None:
    """Leave a clone as it is."""


@dataclass(frozen=True)
class Job:
    """Commands to run, one after the other, in a clone of HEAD.

    Attributes:
        name: unlike that of any other job of the same command.
        commands: the words of each; what they leave in the clone are the results.
        prepare: changes the clone before the first of them runs.
    """

    name: str
    commands: Sequence[Sequence[str]]
    prepare: Callable[[Path], None] = unchanged


@dataclass(frozen=True)
class EndedJob:
    """A job that has run to its end.

    Attributes:
        name: of it.
        clone: in which it ran, with the results.
        failure: the line with which a command failed, "" if none did.
        seconds: that its commands took.
        machine: on which it ended.
    """

    name: str
    clone: Path
    failure: str
    seconds: float
    machine: Mapping[str, Any]


def make_ready(job: Job, folder: Path, cores: int) -> None:
    """Make the folder of a job, with its clone, unless an earlier command has made it.

    Args:
        job: to run in it.
        folder: of the job.
        cores: how many processes the job may run at the same time.
    """
    if (folder / COMMANDS).exists():  # written last
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clone = scratch.clone_head(folder / CLONE)
    job.prepare(clone)
    content = {"cores": cores, "commands": [list(words) for words in job.commands]}
    write(folder / COMMANDS, to_json(content))


def read_outcome(job: Job, folder: Path) -> EndedJob | None:
    """Return what came of a job, None while it has not run to its end."""
    if not (folder / OUTCOME).exists():
        return None
    return EndedJob(job.name, folder / CLONE, **read_json(folder / OUTCOME))
