"""Failures: which cases fail, why that may be, and the one change to try next."""

from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the failure cases, some successes, and the next step."""
    from stages.core.files import write_all

    analysis = task.module("failures").analyse(task)
    write_all(task.folder("failures"), analysis.files())


if __name__ == "__main__":
    run_stage("failures", run)
