"""Predict the class of new inputs with the model of the primary seed.

Each input gets a line, its columns separated by tabs: the input, the predicted class, the confidence in
it. Texts also get the words that contributed most. A generator has no classes to predict: its reference
classifier predicts, followed by the nearest training image, the distance to it and whether that is close.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("task", help="a task of params.yaml")
    parser.add_argument("input", nargs="+", help="image files; of a text task: texts, in quotes")


def run(arguments: argparse.Namespace) -> None:
    """Print a line for each input."""
    from stages.core.errors import printable
    from stages.core.runtime import pin_threads
    from stages.kinds.params import load_params, load_tasks, select_task

    params = load_params()
    pin_threads(params.runtime)
    task = select_task(load_tasks(params), arguments.task)
    for columns in task.module("predict").predict(task, arguments.input):
        print("\t".join(map(printable, columns)))
