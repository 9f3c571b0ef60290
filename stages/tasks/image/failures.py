"""Failure cases of the image classifier, and the one change that they ask for first."""

from typing import TYPE_CHECKING, Any

from stages.shared import cases
from stages.shared.cases import BETWEEN, CAUSES, DRAWN, SUSPECT, UNLIKE, WEAK, Cases
from stages.shared.dataset import read_dataset
from stages.shared.files import read_arrays, read_csv

if TYPE_CHECKING:
    from stages.params import TrainImages
    from stages.shared.task import Task


def failures(task: "Task") -> Cases:
    """Return the failure cases, some successes, and the next step."""
    dataset = read_dataset(task.folder("prepare"))
    folder = task.folder("evaluate")
    predictions = read_csv(folder / "predictions.csv", dtype={"id": str, "group": str})
    seeds = [f"seed_{seed}" for seed in task.params.train.seeds]
    stored = read_arrays(folder / "probabilities.safetensors")
    table = cases.find(
        dataset,
        predictions,
        {seed: stored[seed] for seed in seeds},
        read_arrays(folder / "features.safetensors"),
        task.params.failures,
    )
    summary = cases.summarise(predictions, table, seeds[0])
    return Cases(
        table,
        cases.successes(dataset, predictions, seeds[0], task.params.failures.show),
        summary,
        next_step(summary["causes"], task.params.train),
    )


def _changes(params: "TrainImages") -> dict[str, tuple[str, Any, str]]:
    """Return for a cause the param to change, its new value, and what that should do."""
    given = params.augment
    changes: dict[str, tuple[str, Any, str]] = {
        UNLIKE: (
            "augment.rotate",
            min(180.0, round(given.rotate * 1.5, 3) or 10.0),
            "wider changes of the training images reach further towards samples unlike any of them",
        ),
        DRAWN: (
            "augment.shear",
            min(1.0, round(given.shear * 2, 3) or 0.1),
            "other slants of the training images keep a slant from deciding the class",
        ),
        SUSPECT: (
            "label_smoothing",
            min(0.5, round(params.label_smoothing + 0.05, 3)),
            "softer targets lessen the pull of wrong labels; look at the suspect ones by eye first",
        ),
        WEAK: (
            "label_smoothing",
            max(0.0, round(params.label_smoothing - 0.05, 3)),
            "sharper targets let the model be as sure as it is right",
        ),
    }
    if params.model == "residual" and params.start_from is None:
        changes[BETWEEN] = (
            "channels",
            [2 * width for width in params.channels],
            "a wider network can tell apart classes whose samples lie side by side in its features",
        )
    return changes


def _change(cause: str, params: "TrainImages") -> tuple[str, Any, str]:
    """Return the change that a cause asks for; longer training where none does, or it is made."""
    longer = (
        "epochs",
        params.epochs + (params.epochs + 1) // 2,
        "longer training lets the seeds' models agree on samples that now only some get right",
    )
    key, value, effect = _changes(params).get(cause, longer)
    present: Any = params
    for part in key.split("."):
        present = getattr(present, part)
    return longer if value == present else (key, value, effect)


def next_step(causes: dict[str, int], params: "TrainImages") -> dict[str, Any]:
    """Return the change that the most frequent cause asks for, and the command that tries it.

    Of equally frequent causes the first in the order of `CAUSES` counts.
    """
    cause = max(CAUSES, key=lambda name: causes.get(name, 0))
    key, value, effect = _change(cause, params)
    key = f"image.train.{key}"
    shown = str(value).replace(" ", "").lower()
    total = sum(causes.values())
    return {
        "change": {key: value},
        "cause": cause,
        "cause_means": CAUSES[cause],
        "cases": causes.get(cause, 0),
        "of_cases": total,
        "why": f"{causes.get(cause, 0)} of {total} failure cases: {cause} ({CAUSES[cause]}); {effect}",
        "command": f"dvc exp run -S '{key}={shown}'",
    }
