"""Samples that fail, by kind of failure, and interpolations between samples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.files import read_csv, read_json
from stages.core.runtime import set_deterministic
from stages.datasets.dataset import read_dataset
from stages.kinds.image_generation.failure_kinds import (
    COLLAPSED,
    CRITERIA,
    classify_failures,
    select_cases,
)
from stages.kinds.image_generation.model import interpolate, load_selected
from stages.kinds.image_generation.next_step import next_step

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset

_SUCCESSES = 12
_INTERPOLATED_CLASSES, _INTERPOLATION_STEPS = 5, 9
_COLUMNS = [
    "id",
    "place",
    "true",
    "predicted",
    "confidence",
    "neighbour",
    "neighbour_row",
    "nearest_distance",
]
_CASE_COLUMNS = [
    *_COLUMNS,
    "label_probability",
    "sharpness",
    "nearest_sample",
    "beside",
    "bucket",
    "kind",
    "cause",
]


@dataclass(frozen=True)
class SampleFailures:
    """The failing samples, and those nearest to failing where too few do.

    Attributes:
        cases: a row a sample shown: id, true (the requested class), predicted, bucket, kind, cause, ...
        summary: counts by kind of failure, over all samples.
        next_step: one change, with its command.
        successes: samples that do not fail, evenly spaced by the probability of their class.
        interpolation: uint8 (classes shown, steps, channel, height, width).
    """

    cases: pd.DataFrame
    summary: dict[str, Any]
    next_step: dict[str, Any]
    successes: pd.DataFrame
    interpolation: np.ndarray

    def files(self) -> "dict[str, Content]":
        """Return the files that the stage writes."""
        return {
            "cases.csv": self.cases,
            "successes.csv": self.successes,
            "summary.json": self.summary,
            "next_step.json": self.next_step,
            "interpolation.safetensors": {"images": self.interpolation},
        }


def analyse(task: "Task") -> SampleFailures:
    """Return the failing samples by kind, some that do not fail, and the next step."""
    folder, dataset = task.folder("evaluate"), read_dataset(task)
    limit = read_json(folder / "metrics.json")["copy_distance_test"]
    classes = read_csv(folder / "classes.csv", dtype={"class": str})
    samples = classify_failures(read_csv(folder / "samples.csv", dtype={"id": str}), classes, limit)
    real = classify_failures(
        read_csv(folder / "real.csv"), classes.assign(spread=classes["real_spread"]), limit
    )
    samples = _with_names(samples, dataset)
    failing = samples[[f"{bucket}_fails" for bucket in CRITERIA]].any(axis=1)
    counts = {bucket: int(samples[f"{bucket}_fails"].sum()) for bucket in CRITERIA}
    shares = {bucket: float(real[f"{bucket}_fails"].mean()) for bucket in CRITERIA}
    collapsed = samples.loc[samples[f"{COLLAPSED}_class"], "true"]
    summary = {
        "failure_case_count": int(failing.sum()),
        "buckets": counts,
        "shares_of_real": shares,
        "samples": len(samples),
        "collapsed_classes": sorted({str(name) for name in collapsed}),
    }
    step = next_step(
        task.key("").rstrip("."),
        {bucket: counts[bucket] - shares[bucket] * len(samples) for bucket in CRITERIA},
        _last_improvement(read_csv(folder / "review.csv")),
        task.params.train,
        task.params.evaluate,
    )
    cases = select_cases(samples, counts, task.params.failures.per_bucket)
    return SampleFailures(
        cases[_CASE_COLUMNS],
        summary,
        step,
        _successes(samples[~failing]),
        _interpolations(task, dataset),
    )


def _with_names(samples: pd.DataFrame, dataset: "Dataset") -> pd.DataFrame:
    """Return samples with the names of their classes and of their nearest training images."""
    ids = dict(zip(dataset.samples["row"], dataset.samples["id"], strict=True))
    names = np.array(dataset.classes, dtype=object)
    return samples.assign(
        true=names[samples["label"]],
        predicted=names[samples["predicted"]],
        neighbour=[ids[row] for row in samples["neighbour_row"]],
    )


def _successes(samples: pd.DataFrame) -> pd.DataFrame:
    """Return samples evenly spaced from the most to the least probable of their class."""
    ranked = samples.sort_values(["label_probability", "id"], ascending=[False, True])
    count = min(len(ranked), _SUCCESSES)
    places = np.linspace(0, max(0, len(ranked) - 1), count).round().astype(int)
    return ranked.iloc[places][_COLUMNS].reset_index(drop=True)


def _last_improvement(review: pd.DataFrame) -> float:
    """Return by which share the Fréchet distance fell between the last two checkpoints."""
    distances = review.loc[review["status"] != "", "frechet_validation"].to_numpy()
    return float(1 - distances[-1] / distances[-2]) if len(distances) > 1 else 0.0


def _interpolations(task: "Task", dataset: "Dataset") -> np.ndarray:
    """Return samples between two noises for some classes, evenly spaced."""
    set_deterministic(task.model_runtime)
    model, params = load_selected(task, dataset), task.params.evaluate
    last, count = len(dataset.classes) - 1, min(_INTERPOLATED_CLASSES, len(dataset.classes))
    labels = np.linspace(0, last, count).astype(int).tolist()
    shape, seed = dataset.note["shape"], params.sampling_seeds[0]
    return np.stack(
        [interpolate(model, label, shape, seed, _INTERPOLATION_STEPS, params) for label in labels]
    )
