"""Params: check params.yaml whole, before anything else is touched.

Every other stage depends on this one, so a wrong params.yaml stops `dvc repro` before DVC removes a
single output. Its output never changes, so a change of params reruns only the stages that use it.
"""

import shutil

from stages.core.errors import exit_on_user_error
from stages.core.files import write
from stages.core.processes import end_with_launcher
from stages.core.task import DATA, FOLDERS
from stages.kinds.params import FILE, load_params, load_tasks
from stages.kinds.sources import check_sources

OUTPUT = DATA / "params" / "valid.txt"


def delete_removed_tasks(names: set[str]) -> None:
    """Delete cached outputs of tasks that params.yaml no longer names.

    DVC leaves them in place, and the stage compare, which merges all tasks, depends on their folder.
    """
    for name in FOLDERS:
        folder = DATA / name
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)


def main() -> None:
    """Check params.yaml and the raw data that it names."""
    end_with_launcher()
    with exit_on_user_error("params"):
        tasks = load_tasks(load_params())
        check_sources(tasks)
        delete_removed_tasks(set(tasks))
        write(OUTPUT, f"Every key of {FILE} is known, and its value allowed.\n")


if __name__ == "__main__":
    main()
