"""Helpers of the tests that run stages in the test's own process."""

import contextlib
from importlib import import_module
from pathlib import Path

from stages.core.task import STAGES, Task
from stages.report.review import FOLDER


def run_stages(folder: Path, task: Task, stages: tuple[str, ...] = STAGES) -> None:
    """Run stages of a task in `folder`, one after another, with an empty review note."""
    review = folder / FOLDER / f"{task.name}.md"
    review.parent.mkdir(parents=True, exist_ok=True)
    review.write_text("## Results\n")
    with contextlib.chdir(folder):
        for stage in stages:
            import_module(f"stages.{stage}").run(task)
