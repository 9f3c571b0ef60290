"""The process of a job: runs its commands in its clone, and leaves the outcome as a file.

`python -m stages.tools.jobs.worker FOLDER`. It may be killed at any time: run again, it goes on with the
command that was running, which itself goes on from its checkpoint.
"""

import os
import signal
import sys
import time
from pathlib import Path

from filelock import FileLock

from stages.core.files import read_json, to_json, write
from stages.core.machine import host_record
from stages.core.processes import end_with_parent, run_command
from stages.core.slots import VARIABLE
from stages.tools.jobs.job import CLONE, COMMANDS, ERRORS, OUTCOME, PROGRESS
from stages.tools.scratch import failure_line

# Variables of the cluster, by which libraries in a stage would take its processes for parts of one run.
_OF_THE_CLUSTER = ("SLURM", "SRUN", "SUBMITIT", "PMI", "PMIX")
_KILLED = {128 + signal.SIGKILL, 128 + signal.SIGTERM}


def run_job(folder: Path) -> int:
    """Run what is left of a job's commands; return the exit status, 0 where it has come to its end.

    A command that fails ends the job, and the outcome has its line. One that is killed ends the process
    without an outcome: the job may be started again.

    Args:
        folder: of the job.
    """
    with FileLock(folder / "lock"):  # one that was taken for dead may still run
        if (folder / OUTCOME).exists():
            return 0
        content = read_json(folder / COMMANDS)
        progress = folder / PROGRESS
        seconds: list[float] = read_json(progress) if progress.exists() else []
        failure = ""
        for words in content["commands"][len(seconds) :]:
            start = time.monotonic()
            result = run_command(
                folder / CLONE, *words, extra_environment={VARIABLE: str(content["cores"])}
            )
            if result.returncode < 0 or result.returncode in _KILLED:
                return 1
            seconds.append(time.monotonic() - start)
            if result.returncode:
                write(folder / ERRORS, result.stdout + result.stderr)
                failure = failure_line(_name(words), result)
                break
            write(progress, to_json(seconds))
        outcome = {"failure": failure, "seconds": sum(seconds), "machine": host_record()}
        write(folder / OUTCOME, to_json(outcome))
    return 0


def _name(words: list[str]) -> str:
    """Return what a command is called in a message: the module of Python's, or the program."""
    return words[2] if words[:2] == ["python", "-m"] else words[0]


def main() -> int:
    """Run the job that the command line names; it ends with the process that started it."""
    end_with_parent()
    for name in [name for name in os.environ if name.startswith(_OF_THE_CLUSTER)]:
        del os.environ[name]
    return run_job(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
