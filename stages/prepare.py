"""Prepare: from raw data to split samples and a dataset note."""

from stages.core.files import write_all
from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the task's prepared data."""
    folder = task.folder("prepare")
    data = task.module("prepare").prepare(task, folder)
    write_all(folder, data.files())


if __name__ == "__main__":
    run_stage("prepare", run)
