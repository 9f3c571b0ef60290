"""Draw samples of one class with a generator's selected checkpoint, and write them as one PNG.

The same seed gives the same picture.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stages.core.task import Task

_MAX_COUNT = 10_000
_COLUMNS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", help="a task of params.yaml that generates")
    parser.add_argument("--label", required=True, help="a class, by name")
    parser.add_argument("--count", type=int, default=16, help="number of samples (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")


def run(arguments: argparse.Namespace) -> None:
    """Write the picture, and print its path."""
    from stages.core.runtime import pin_threads
    from stages.kinds.params import load_params, load_tasks

    params = load_params()
    pin_threads(params.runtime)
    task = _select_generator(load_tasks(params), arguments.task)
    _check(arguments)
    from stages.core.files import write
    from stages.report import pictures

    samples = task.module("sample").sample(task, arguments.label, arguments.count, arguments.seed)
    rows = [list(samples[start : start + _COLUMNS]) for start in range(0, len(samples), _COLUMNS)]
    write(arguments.out, pictures.image_grid(rows))
    print(arguments.out)


def _select_generator(tasks: "Mapping[str, Task]", name: str) -> "Task":
    from stages.kinds.params import select_task
    from stages.kinds.registry import KINDS

    task = select_task(tasks, name)
    if not KINDS[task.kind].can_sample:
        generators = [task.name for task in tasks.values() if KINDS[task.kind].can_sample]
        raise UserError(
            f"given task {name!r}, whose kind {task.kind} generates nothing; must be one of "
            f"{', '.join(generators) or 'none (params.yaml has no task that generates)'}"
        )
    return task


def _check(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.count <= _MAX_COUNT:
        raise UserError(f"--count: given {arguments.count}; must be from 1 to {_MAX_COUNT}")
    if not 0 <= arguments.seed < 2**32:
        raise UserError(f"--seed: given {arguments.seed}; must be from 0 to {2**32 - 1}")
    if arguments.out.suffix.lower() != ".png":
        raise UserError(f"--out: given {str(arguments.out)!r}; must end in .png")
    if not arguments.out.parent.is_dir():
        raise UserError(f"--out: {arguments.out.parent} is not a folder; create it first")
