"""Prepare: from raw data to split samples and a dataset note."""

from stages.shared.files import write_all
from stages.shared.task import Task, enter


def run(task: Task) -> None:
    """Write the task's prepared data."""
    folder = task.folder("prepare")
    prepared = task.cell("prepare").prepare(task, folder)
    write_all(folder, prepared.files())


if __name__ == "__main__":
    enter("prepare", run)
