"""Helpers of the tests that run stages in the test's own process."""

import contextlib
from importlib import import_module
from pathlib import Path

from stages.core.files import write
from stages.core.task import STAGES, Task
from stages.evaluation.experiment_log import LOG, to_table
from stages.report.review import FOLDER


def run_stages(folder: Path, task: Task, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages of a task in `folder`, one after another, with an empty review note and no experiments."""
    review = folder / FOLDER / f"{task.name}.md"
    review.parent.mkdir(parents=True, exist_ok=True)
    review.write_text("## Results\n")
    write(folder / task.evidence / LOG, to_table([]))
    with contextlib.chdir(folder):
        for stage in stages:
            import_module(f"stages.{stage}").run(task)
