"""Print the first training step of a task as Markdown, with every value.

The page docs/workshop.md is this output for the task `workshop`.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", help="a task of params.yaml")


def run(arguments: argparse.Namespace) -> None:
    """Print the walkthrough.

    Raises:
        UserError: the task's kind has none.
    """
    from stages.core.errors import UserError
    from stages.core.runtime import pin_threads, set_deterministic
    from stages.kinds.params import load_params, load_tasks, select_task
    from stages.kinds.registry import KINDS

    params = load_params()
    pin_threads(params.runtime)
    tasks = load_tasks(params)
    task = select_task(tasks, arguments.task)
    if not KINDS[task.kind].has_walkthrough:
        choices = [task.name for task in tasks.values() if KINDS[task.kind].has_walkthrough]
        raise UserError(
            f"given task {task.name!r}; its kind {task.kind} has no walkthrough; must be one of "
            f"{', '.join(choices) or 'none (params.yaml has no task with one)'}"
        )
    set_deterministic(params.runtime)
    module = task.module("walkthrough")
    print(module.render_walkthrough(module.walkthrough_values(task)), end="")
