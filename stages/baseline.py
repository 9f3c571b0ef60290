"""Baseline: simple methods first; the strongest on validation data is the one to beat."""

from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the fitted baselines and their predictions."""
    from stages.core.files import write_all

    write_all(task.folder("baseline"), task.module("baseline").fit(task).files())


if __name__ == "__main__":
    run_stage("baseline", run)
