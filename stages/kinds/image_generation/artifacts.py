"""The files of an image generator's evidence pack."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.files import read_json
from stages.report.artifacts import COMMON, Artifact

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset

_GENERATION = (
    Artifact(
        "review", "evaluate", "review.csv", "checkpoint_review.csv", ("method", "reason", "note")
    ),
    Artifact("samples", "evaluate", "samples.csv", "samples.csv", ("id",)),
    Artifact("classes", "evaluate", "classes.csv", "classes.csv", ("class",)),
)


def artifacts(task: "Task") -> tuple[Artifact, ...]:  # noqa: ARG001 (the same for every task)
    """Return the files of the pack, by the stage that writes each."""
    return (*COMMON, *_GENERATION)


def picture_arrays(task: "Task", dataset: "Dataset") -> dict[Path, dict[str, tuple[int, ...]]]:
    """Return the shapes of the arrays that only the pictures of the pack show: file -> name -> shape.

    They are not in git; `evidence verify` puts blank ones in their place and compares the rest.
    """
    metrics = read_json(task.folder("evaluate") / "metrics.json")
    shape = dataset.note["shape"]
    grid = len(metrics["shown_classes"]) * metrics["samples_per_class_shown"]
    steps = (f"step {step}" for step in task.params.train.checkpoint_steps)
    return {
        task.folder("evaluate") / "samples.safetensors": {
            "samples": (metrics["n"], *shape),
            **dict.fromkeys([*metrics["baselines"], *steps], (grid, *shape)),
        },
        task.folder("failures") / "interpolation.safetensors": {"images": (1, 1, *shape)},
    }
