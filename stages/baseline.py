"""Baseline: simple methods first; the strongest on validation data is the one to beat."""

from stages.shared.task import Task, enter


def run(task: Task) -> None:
    """Write the fitted baselines and what they give for the test data."""
    from stages.shared.files import write_all

    write_all(task.folder("baseline"), task.cell("baseline").fit(task).files())


if __name__ == "__main__":
    enter("baseline", run)
