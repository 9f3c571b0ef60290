"""The command line of a stage of a task: `python -m stages.train image`."""

import argparse
import sys
from collections.abc import Callable

from stages.core import runtime
from stages.core.errors import exit_on_user_error
from stages.core.processes import end_with_launcher
from stages.core.progress import set_stage
from stages.core.task import Task
from stages.kinds.params import FILE, load_params, load_tasks, select_task


def run_stage(stage: str, run: Callable[[Task], None]) -> None:
    """Run one stage for the task named on the command line.

    All of params.yaml is checked first, before any output is touched.
    """
    end_with_launcher()
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}", description=_purpose())
    parser.add_argument("task", help=f"a task of {FILE}")
    name = parser.parse_args().task
    with exit_on_user_error(f"{stage}@{name}"):
        params = load_params()
        tasks = load_tasks(params)
        task = select_task(tasks, name)
        runtime.pin_threads(params.runtime)
        set_stage(f"{stage}@{name}")
        run(task)


def _purpose() -> str:
    return (sys.modules["__main__"].__doc__ or "").strip().split("\n")[0]
