"""Evaluate: the models and the baseline on the same test samples, and the verdict."""

import sys

from stages.shared.task import Task, enter


def run(task: Task) -> None:
    """Write predictions, scores, the verdict, and what `dvc plots` draws."""
    from stages.shared.files import write_all
    from stages.shared.runtime import hold_torch

    hold_torch(task.runtime)
    evaluation = task.cell("evaluate").evaluate(task)
    for alarm in evaluation.alarms:
        print(f"evaluate@{task.name}: {alarm}", file=sys.stderr)
    write_all(task.folder("evaluate"), evaluation.files())
    write_all(task.plots, {f"{name}.csv": table for name, table in evaluation.plots.items()})


if __name__ == "__main__":
    enter("evaluate", run)
