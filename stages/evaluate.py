"""Evaluate: the models and the baseline on the same test samples, and the verdict."""

import sys

from stages.core.errors import printable
from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write predictions, scores, the verdict, and the tables that `dvc plots` draws."""
    from stages.core.files import write_all
    from stages.core.runtime import set_deterministic

    set_deterministic(task.model_runtime)
    evaluation = task.module("evaluate").evaluate(task)
    for warning in evaluation.warnings:
        print(f"evaluate@{task.name}: {printable(str(warning))}", file=sys.stderr)
    write_all(task.folder("evaluate"), evaluation.files())


if __name__ == "__main__":
    run_stage("evaluate", run)
