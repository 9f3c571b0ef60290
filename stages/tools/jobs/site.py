"""Where jobs run: side by side on this machine, or wherever submitit puts them."""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stages.core.errors import UserError
from stages.core.processes import last_line, scratch_folder
from stages.core.repositories import git
from stages.tools.jobs.job import EndedJob, Job, make_ready, read_outcome

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.params import Cluster, Params

ENGINES = ("local", "slurm")
FOLDER = Path(".dvc/tmp/jobs")  # git ignores it; on a cluster all nodes must see it
WORKER = "stages.tools.jobs.worker"


class Site(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[Job]) -> Iterator[EndedJob]:
        """Run jobs and yield each when it has ended; its clone may be read until the next one is asked for.

        Raises:
            UserError: a job cannot be run to its end.
        """


class Pool:
    """This machine: as many jobs at a time as it has cores and memory for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, jobs: Sequence[Job]) -> Iterator[EndedJob]:
        """Run jobs in scratch clones, each of them on one core."""
        from stages.core.process_pool import run_pool
        from stages.tools.repro.command import default_jobs

        folders = {job.name: self._folder / str(number) for number, job in enumerate(jobs)}
        commands = {}
        for job in jobs:
            make_ready(job, folders[job.name], cores=1)
            words = (sys.executable, "-m", WORKER, str(folders[job.name]))
            commands[job.name] = (folders[job.name] / "clone", words)
        by_name = {job.name: job for job in jobs}
        for name, command in run_pool(commands, default_jobs()):
            ended = read_outcome(by_name[name], folders[name])
            if ended is None:
                raise UserError(f"{name}: killed: {last_line(command.errors) or 'no message'}")
            yield ended
            shutil.rmtree(folders[name])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where jobs run."""
    parser.add_argument(
        "--on",
        choices=ENGINES,
        default="",
        metavar="{local,slurm}",
        help="run as jobs by submitit, on this machine or on a SLURM cluster (section cluster of "
        "params.yaml); the same command goes on where it was interrupted",
    )


@contextmanager
def open_site(on: str, command: str, params: "Params", tasks: "Sequence[Task]") -> Iterator[Site]:
    """Yield where the jobs of a command run. What they have left is deleted, unless an error ends it.

    Args:
        on: "" for processes of this command; "local" or "slurm" for jobs of submitit.
        command: of the user, which names its jobs: the same one, interrupted, finds them again.
        params: of the project.
        tasks: whose data the jobs read.

    Raises:
        UserError: the jobs cannot run there.
    """
    if not on:
        with scratch_folder() as folder:
            yield Pool(folder)
        return
    from stages.tools.jobs.submitted import SubmittedJobs, open_engine

    folder = (FOLDER / _key(command, tasks)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    name = command.partition(" ")[0]
    engine = open_engine(on, folder / "submitit", name, required_section(params))
    yield SubmittedJobs(engine, folder, name)
    shutil.rmtree(folder)


def required_section(params: "Params") -> "Cluster":
    """Return the section `cluster` of params.

    Raises:
        UserError: there is none.
    """
    if params.cluster is None:
        raise UserError("params.yaml: cluster: this section is missing; docs/cluster.md shows it")
    return params.cluster


def _key(command: str, tasks: "Sequence[Task]") -> str:
    """Return a name for the jobs of a command: another one for another commit, or other data."""
    paths = sorted({path for task in tasks for path in task.input_paths().values()})
    content = [git(Path(), "rev-parse", "HEAD"), command, [_state(Path(path)) for path in paths]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _state(path: Path) -> list[int]:
    """Return what changes with the files of a path: their number, sizes and times."""
    files = (
        [path]
        if path.is_file()
        else (Path(top, name) for top, _, names in os.walk(path) for name in names)
    )
    entries = [file.stat() for file in files if file.exists()]
    times = [entry.st_mtime_ns for entry in entries]
    return [len(entries), sum(entry.st_size for entry in entries), max(times, default=0)]
