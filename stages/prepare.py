"""Prepare: from raw data to split samples and a dataset note."""

import shutil
import sys

from stages.core.errors import one_line
from stages.core.files import write_all
from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the task's prepared data."""
    folder = task.folder("prepare")
    data = task.module("prepare").prepare(task, folder)
    write_all(folder, data.files())
    shutil.rmtree(task.resume_folder("prepare"), ignore_errors=True)
    for remark in data.note["remarks"]:
        print(f"prepare@{task.name}: {one_line(remark)}", file=sys.stderr)


if __name__ == "__main__":
    run_stage("prepare", run)
