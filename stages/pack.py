"""Pack: everything that another person needs to check the result, as files and as one page."""

import shutil

from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the evidence pack; files that people keep beside it are left alone."""
    from stages.core.files import write_all
    from stages.core.machine import machine_record, record_machine, results_digest

    pack = task.module("pack").pack(task)
    files = pack.files()
    for folder in ("data", "pictures"):
        shutil.rmtree(task.evidence / folder, ignore_errors=True)
    write_all(task.evidence, files)
    write_all(task.folder("pack"), pack.content(files))
    record_machine(task.name, results_digest(files), machine_record(task.model_runtime))


if __name__ == "__main__":
    run_stage("pack", run)
