"""Jobs by submitit: on a SLURM cluster, or by its local executor on this machine.

What crosses between processes are command lines and files; submitit pickles nothing of this project, and
its pickled results are not read.
"""

import io
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import UserError
from stages.core.processes import last_line, run_command
from stages.tools.jobs.job import CLONE, EndedJob, Job, make_ready, read_outcome
from stages.tools.jobs.site import WORKER

if TYPE_CHECKING:
    from stages.kinds.params import Cluster

_PAUSE = 1.0  # seconds between two looks at what has ended
_SETTLE = (
    10.0  # seconds in which the files of a job that has ended become visible on shared storage
)


@dataclass(frozen=True)
class Engine:
    """An executor of submitit.

    Attributes:
        executor: of submitit.
        settings: the section of params.
        at_a_time: how many jobs are submitted at the same time; None for all.
        running: returns which of some jobs of submitit wait or run.
    """

    executor: Any
    settings: "Cluster"
    at_a_time: int | None
    running: Callable[[Sequence[Any]], list[Any]]

    def submit(self, name: str, folder: Path) -> Any:
        """Submit the worker of a job; return submitit's job.

        Args:
            name: of the job, for the user.
            folder: of the job.

        Raises:
            UserError: the cluster does not take it.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.helpers import CommandFunction

        words = [sys.executable, "-m", WORKER, str(folder)]
        function = CommandFunction(words, verbose=False, cwd=str(folder / CLONE))
        try:
            with redirect_stderr(io.StringIO()):  # submitit repeats what sbatch says
                return self.executor.submit(function)
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            line = last_line(str(error)).removeprefix("sbatch: error: ")
            raise UserError(
                f"{name}: the cluster does not take the job: {line}; see the section cluster of params.yaml"
            ) from None


def open_engine(on: str, folder: Path, command: str, settings: "Cluster") -> Engine:
    """Return an engine.

    Args:
        on: "local" or "slurm".
        folder: for submitit's own files.
        command: of `evidence`, by which the queue shows its jobs.
        settings: the section of params.

    Raises:
        UserError: submitit or SLURM is not installed.
    """
    try:
        import submitit
    except ImportError:
        raise UserError("--on needs submitit, which is not installed: make extras") from None
    if on == "local":
        from stages.tools.repro.command import default_jobs

        executor: Any = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=settings.minutes, gpus_per_node=settings.gpus)
        return Engine(executor, settings, default_jobs(), _unfinished)
    for program in ("sbatch", "srun", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UserError(
                f"--on slurm: {program} is not on PATH; run it on a machine that submits to SLURM, or "
                "--on local"
            )
    executor = submitit.SlurmExecutor(folder)
    parameters = {
        "job_name": f"evidence-{command}",
        "partition": settings.partition,
        "account": settings.account,
        "time": settings.minutes,
        "mem": f"{round(settings.memory_gb * 1024)}MB",
        "cpus_per_task": settings.cores,
        "gpus_per_node": settings.gpus or None,
    }
    executor.update_parameters(
        **{key: value for key, value in parameters.items() if value is not None}
    )
    return Engine(executor, settings, None, _in_queue)


def _unfinished(jobs: Sequence[Any]) -> list[Any]:
    return [job for job in jobs if not job.done()]


def _in_queue(jobs: Sequence[Any]) -> list[Any]:
    """Return the jobs that wait or run, as SLURM's queue says; its accounting need not be set up.

    All of them while the controller does not answer.
    """
    result = run_command(Path(), "squeue", "--me", "--noheader", "--format=%A")
    if result.returncode:
        return [*jobs]
    numbers = set(result.stdout.split())
    return [job for job in jobs if job.job_id in numbers]


class SubmittedJobs:
    """Runs jobs on an engine, and starts those again that end without an outcome.

    Args:
        engine: to submit to.
        folder: for the jobs; all machines must see it.
        command: that prints what happens.
    """

    def __init__(self, engine: Engine, folder: Path, command: str) -> None:
        self._engine, self._folder, self._command = engine, folder, command

    def run(self, jobs: Sequence[Job]) -> Iterator[EndedJob]:
        """Run jobs; those that an interrupted command has run to their end are not run again."""
        waiting = dict(enumerate(jobs))
        submissions: dict[int, _Submission] = {}
        count = 0
        try:
            while waiting or submissions:
                while waiting and len(submissions) < (self._engine.at_a_time or len(jobs)):
                    number = next(iter(waiting))
                    submissions[number] = self._submit(number, waiting.pop(number))
                jobs_of_submitit = [item.job for item in submissions.values() if item.job]
                running = self._engine.running(jobs_of_submitit)
                for number, submission in list(submissions.items()):
                    ended = read_outcome(submission.work, submission.folder)
                    if ended:
                        del submissions[number]
                        count += 1
                        self._say(f"{ended.name}: {ended.seconds:.0f} s ({count} of {len(jobs)})")
                        yield ended
                    elif submission.is_dead(running):
                        self._restart(submission)
                time.sleep(_PAUSE if submissions else 0)
        finally:
            for submission in submissions.values():
                submission.cancel()

    def _submit(self, number: int, work: Job) -> "_Submission":
        folder = self._folder / str(number)
        make_ready(work, folder, self._engine.settings.cores)
        if read_outcome(work, folder):
            return _Submission(work, folder, None)
        return _Submission(work, folder, self._engine.submit(work.name, folder))

    def _restart(self, submission: "_Submission") -> None:
        restarts = self._engine.settings.restarts
        if submission.restarts == restarts:
            raise UserError(
                f"{submission.work.name}: its job ended {restarts + 1} times without a result (memory, "
                f"time, or a node that failed); cluster.memory_gb and cluster.minutes in params.yaml "
                f"give it more, and the same command goes on; what it printed is in {submission.logs}"
            )
        submission.restarts += 1
        number = f"restart {submission.restarts} of {restarts}"
        self._say(f"{submission.work.name}: its job has died; {number}, from its checkpoint")
        submission.job = self._engine.submit(submission.work.name, submission.folder)

    def _say(self, line: str) -> None:
        print(f"{self._command}: {line}", file=sys.stderr)


@dataclass
class _Submission:
    """A job and where it stands.

    Attributes:
        work: to be done.
        folder: of it.
        job: of submitit; None where an earlier command has run it to its end.
        restarts: how often it was started again.
        missing_since: when it was first seen to be gone; None while it waits or runs.
    """

    work: Job
    folder: Path
    job: Any
    restarts: int = 0
    missing_since: float | None = None

    @property
    def logs(self) -> Path:
        """Return the folder with what submitit's jobs have printed."""
        return self.folder.parent / "submitit"

    def is_dead(self, running: Sequence[Any]) -> bool:
        """Return whether the job has ended, and its outcome is not there for some time.

        Args:
            running: the jobs of submitit that wait or run.
        """
        if any(job is self.job for job in running):
            self.missing_since = None
            return False
        if self.missing_since is None:
            self.missing_since = time.monotonic()
        is_dead = time.monotonic() - self.missing_since > _SETTLE
        if is_dead:
            self.missing_since = None
        return is_dead

    def cancel(self) -> None:
        """Cancel the job; what it has done stays."""
        if self.job is not None:
            with suppress(OSError):  # scancel is not there any more
                self.job.cancel(check=False)
