"""Failures: which cases fail, why that may be, and the one change to try next."""

from stages.shared.task import Task, enter


def run(task: Task) -> None:
    """Write the failure cases, some successes, and the next step."""
    from stages.shared.files import write_all

    write_all(task.folder("failures"), task.cell("failures").failures(task).files())


if __name__ == "__main__":
    enter("failures", run)
