"""Pack: everything that another person needs to check the result, as files and as one page."""

import shutil

from stages.shared.task import Task, enter


def run(task: Task) -> None:
    """Write the evidence pack; what stands beside it in its folder is left alone."""
    from stages.shared.files import write_all

    packed = task.cell("pack").pack(task)
    files = packed.files()
    for folder in ("data", "pictures"):
        shutil.rmtree(task.evidence / folder, ignore_errors=True)
    write_all(task.evidence, files)
    write_all(task.folder("pack"), packed.content())


if __name__ == "__main__":
    enter("pack", run)
