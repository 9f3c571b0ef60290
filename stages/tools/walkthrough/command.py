"""Run the walkthrough of a task: its training step by step, with every value, as Markdown.

Without an option it is printed. --out writes the page, its pictures and the same as a Jupyter notebook:
docs/workshop.md is that of the task `workshop`. --outcomes runs the exercises of that page first, which
takes some minutes.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError

if TYPE_CHECKING:
    from stages.core.task import Task

DOCS = Path("docs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", help="a task of params.yaml")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write page, pictures and notebook there"
    )
    parser.add_argument(
        "--outcomes",
        action="store_true",
        help="run the exercises and the difficulties of the stripes, and write their tables (with --out)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the walkthrough, or write it.

    Raises:
        UserError: the task's kind has none.
    """
    from stages.core.files import write_all
    from stages.core.runtime import pin_threads, set_deterministic
    from stages.kinds.params import load_params

    params = load_params()
    pin_threads(params.runtime)
    task = _select(arguments.task)
    folder: Path | None = arguments.out
    if arguments.outcomes:
        if folder is None:
            raise UserError("--outcomes is for --out: name the folder of the page, such as docs")
        _measure(task, folder / task.name)
    set_deterministic(params.runtime)
    from stages.tools.walkthrough.page import make_page

    page = make_page(task, (folder or DOCS) / task.name)
    if folder is None:
        print(page.markdown, end="")
        return
    write_all(folder, {f"{task.name}.md": page.markdown, f"{task.name}.ipynb": page.notebook})
    write_all(folder / task.name, page.pictures)


def _select(name: str) -> "Task":
    from stages.kinds.params import load_params, load_tasks, select_task
    from stages.kinds.registry import KINDS

    tasks = load_tasks(load_params())
    task = select_task(tasks, name)
    if not KINDS[task.kind].has_walkthrough:
        choices = [task.name for task in tasks.values() if KINDS[task.kind].has_walkthrough]
        raise UserError(
            f"given task {name!r}; its kind {task.kind} has no walkthrough; must be one of "
            f"{', '.join(choices) or 'none (params.yaml has no task with one)'}"
        )
    return task


def _measure(task: "Task", folder: Path) -> None:
    """Run the exercises and the difficulties, and write their tables."""
    import pandas as pd

    from stages.core.files import write_all
    from stages.core.processes import scratch_folder
    from stages.tools.walkthrough.exercises import (
        DIFFICULTIES,
        LEVELS,
        OUTCOMES,
        Workbench,
        read_exercises,
    )

    if task.params.prepare.source != "stripes" or task.params.train.model != "tiny_cnn":
        raise UserError(
            f"--outcomes: {task.name}: the exercises are for a tiny_cnn on stripes, as in workshop"
        )
    with scratch_folder() as scratch:
        workbench = Workbench(task.name, scratch)
        rows = []
        for exercise in read_exercises():
            print(f"exercise {exercise.name}", file=sys.stderr)
            rows.append(workbench.outcome(exercise))
        outcomes, rows = pd.DataFrame(rows), []
        for level in LEVELS:
            print(f"difficulty {level:g}", file=sys.stderr)
            rows.append(workbench.difficulty(level))
    write_all(folder, {OUTCOMES: outcomes, DIFFICULTIES: pd.DataFrame(rows)})
