"""Samples that fail, by kind, and the one change that they ask for first."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared.dataset import read_dataset
from stages.shared.files import read_csv, read_json
from stages.shared.runtime import hold_torch
from stages.tasks.generative.measure import LOW
from stages.tasks.generative.model import between, chosen

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.files import Content
    from stages.shared.schema import EvaluateFlow, TrainFlow
    from stages.shared.task import Task

_NARROW, _UNSURE, _RISING = 0.5, 0.5, 0.1
COLLAPSED, BLURRED, BROKEN, COPIED = "collapsed", "blurred", "broken", "copied"
MEANS = {
    COLLAPSED: f"of a class whose samples spread less than {_NARROW:.0%} as wide as real ones do; shown "
    "are those nearest to another sample",
    BLURRED: f"less sharp than all but {LOW:.0%} of the class's test images",
    BROKEN: f"the judge gives the class that was asked for less than {_UNSURE:.0%}",
    COPIED: "closer to a training image than all but evaluate.close_share of test images are",
}
_FEW = 5  # samples of a class whose spread says something
_ROWS, _STEPS = 5, 9  # of the pictures between two noises


@dataclass(frozen=True)
class Failed:
    """The failing samples, and those nearest to failing where too few do.

    Attributes:
        cases: a row a sample shown: id, bucket, kind, cause, true (asked), predicted (judged), ...
        summary: counts by kind, over all samples.
        next_step: one change, with its command.
        successes: samples that fail in no way.
        between: uint8 (classes shown, steps, channel, height, width), from one sample to another.
    """

    cases: pd.DataFrame
    summary: dict[str, Any]
    next_step: dict[str, Any]
    successes: pd.DataFrame
    between: np.ndarray

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes."""
        return {
            "cases.csv": self.cases,
            "successes.csv": self.successes,
            "summary.json": self.summary,
            "next_step.json": self.next_step,
            "between.safetensors": {"between": self.between},
        }


def failures(task: "Task") -> Failed:
    """Return the failing samples by kind, some that fail in no way, and the next step."""
    folder = task.folder("evaluate")
    dataset = read_dataset(task.folder("prepare"))
    metrics = read_json(folder / "metrics.json")
    classes = read_csv(folder / "classes.csv", dtype={"class": str})
    close = metrics["close_gap_test"]
    found = judged(read_csv(folder / "samples.csv", dtype={"id": str}), classes, close)
    real = judged(
        read_csv(folder / "real.csv"), classes.assign(spread=classes["real_spread"]), close
    )
    shares = {bucket: float(real[f"{bucket}_fails"].mean()) for bucket in MEANS}
    ids = dict(zip(dataset.samples["row"], dataset.samples["id"], strict=True))
    named = np.array(dataset.classes, dtype=object)
    found["true"], found["predicted"] = named[found["asked"]], named[found["judged"]]
    found["neighbour"] = [ids[row] for row in found["neighbour_row"]]
    fails = found[[f"{bucket}_fails" for bucket in MEANS]]
    counts = {bucket: int(found[f"{bucket}_fails"].sum()) for bucket in MEANS}
    shown, often = task.params.failures.per_bucket, sorted(MEANS, key=lambda name: -counts[name])
    cases = pd.concat([_shown(found, bucket, shown) for bucket in often], ignore_index=True)
    summary = {
        "failure_case_count": int(fails.any(axis=1).sum()),
        "buckets": counts,
        "shares_of_real": shares,
        "samples": len(found),
        "collapsed_classes": sorted(
            {str(name) for name in found.loc[found[f"{COLLAPSED}_class"], "true"]}
        ),
    }
    good = found[~fails.any(axis=1)].sort_values(["of_asked", "id"], ascending=[False, True])
    places = np.linspace(0, max(0, len(good) - 1), min(len(good), 12)).round().astype(int)
    columns = [
        "id",
        "place",
        "true",
        "predicted",
        "confidence",
        "neighbour",
        "neighbour_row",
        "gap",
    ]
    return Failed(
        cases[[*columns, "of_asked", "sharpness", "twin", "beside", "bucket", "kind", "cause"]],
        summary,
        next_step(
            task.name,
            {name: counts[name] - shares[name] * len(found) for name in MEANS},
            _rising(folder),
            task.params.train,
            task.params.evaluate,
        ),
        good.iloc[places][columns].reset_index(drop=True),
        _between(task, dataset),
    )


def _between(task: "Task", dataset: "Dataset") -> np.ndarray:
    hold_torch(task.runtime)
    model, params = chosen(task, dataset), task.params.evaluate
    labels = np.linspace(0, len(dataset.classes) - 1, min(_ROWS, len(dataset.classes))).astype(int)
    shape, seed = dataset.note["shape"], params.sampling_seeds[0]
    return np.stack([between(model, int(label), shape, seed, _STEPS, params) for label in labels])


def judged(samples: pd.DataFrame, classes: pd.DataFrame, close: float) -> pd.DataFrame:
    """Return samples with, for each kind of failure, how near they are to it and whether they fail.

    Args:
        samples: a row a sample, as evaluate writes it.
        classes: a row a class, likewise.
        close: the gap below which a sample counts as copied.

    Returns:
        With the columns place, KIND_near (the lowest are the nearest to failing) and KIND_fails.
    """
    own = classes.iloc[samples["asked"]].reset_index(drop=True)
    found = samples.assign(place=np.arange(len(samples)))
    ratio = own["spread"] / own["real_spread"].clip(lower=1e-12)
    collapsed = (ratio < _NARROW) & (own["samples"] >= _FEW)
    found[f"{COLLAPSED}_class"] = collapsed
    # The class that spreads least comes first, in it the samples nearest to a twin.
    found[f"{COLLAPSED}_near"] = ratio.rank(method="dense") + found["twin_gap"].rank(pct=True) / 2
    found[f"{COLLAPSED}_fails"] = collapsed
    found[f"{BLURRED}_near"] = found["sharpness"] / own["real_sharpness"].clip(lower=1e-12)
    found[f"{BLURRED}_fails"] = found["sharpness"] < own["real_sharpness_low"]
    found[f"{BROKEN}_near"] = found["of_asked"]
    found[f"{BROKEN}_fails"] = found["of_asked"] < _UNSURE
    found[f"{COPIED}_near"] = found["gap"]
    found[f"{COPIED}_fails"] = found["gap"] < close
    return found


def _shown(found: pd.DataFrame, bucket: str, count: int) -> pd.DataFrame:
    """Return the `count` samples that fail most in one way, or come nearest to it."""
    fails = found[f"{bucket}_fails"]
    order = np.lexsort((found["place"], found[f"{bucket}_near"], ~fails))[:count]
    some = found.iloc[order]
    kind = np.where(some[f"{bucket}_fails"], "fails", "nearest to it")
    twins = (some["twin"] >= 0) & (bucket == COLLAPSED)
    beside = np.where(twins, "sample", "training image")
    return some.assign(bucket=bucket, kind=kind, cause=MEANS[bucket], beside=beside)


def _rising(folder: Path) -> float:
    """Return by which share the Fréchet distance fell between the last two reviewed steps."""
    review = read_csv(folder / "review.csv")
    distances = review.loc[review["status"] != "", "frechet_validation"].to_numpy()
    return float(1 - distances[-1] / distances[-2]) if len(distances) > 1 else 0.0


def next_step(
    task: str, excess: dict[str, float], rising: float, train: "TrainFlow", evaluate: "EvaluateFlow"
) -> dict[str, Any]:
    """Return the one change to try first, with its command: what the largest excess asks for.

    While quality still rises by over a tenth from one reviewed step to the next, longer training
    comes before all else.

    Args:
        task: the params' section.
        excess: by kind of failure, samples beyond as many as real images would be.
        rising: by which share the Fréchet distance fell between the last two reviewed steps.
        train: of the stage train.
        evaluate: of the stage evaluate.
    """
    bucket = max(excess, key=lambda name: excess[name])
    key: str
    value: Any
    key, value, hope = {
        BROKEN: (
            "evaluate.guidance",
            round(evaluate.guidance + 0.25, 3),
            "more guidance draws samples towards the class that is asked for",
        ),
        COLLAPSED: (
            "evaluate.guidance",
            round(max(0.0, evaluate.guidance - 0.25), 3),
            "less guidance leaves each class more of its spread",
        )
        if evaluate.guidance
        else (
            "train.label_dropout",
            round((1 + train.label_dropout) / 2, 3),
            "a network that is told fewer labels learns more of what all classes share",
        ),
        COPIED: (
            "train.weight_decay",
            max(0.01, round(train.weight_decay * 2, 4)),
            "a network held back learns single training images less well by heart",
        ),
        BLURRED: (
            "evaluate.guidance",
            round(evaluate.guidance + 0.25, 3),
            "more guidance gives sharper samples, at the price of diversity, which the review watches",
        ),
    }[bucket]
    if key == "evaluate.guidance" and not train.label_dropout:
        key, value = "train.label_dropout", 0.1
        hope = "guidance would help, for which the network has to be asked without a label as well"
    if rising > _RISING:
        last = train.review[-1]
        longer = last + max(1, last // 2 // train.log_every) * train.log_every
        key, value = "train.review", [*train.review, longer]
        hope = (
            f"quality still rose by {rising:.0%} between the last two reviewed steps, so longer training "
            "comes first"
        )
    if excess[bucket] <= 0:
        why = "samples fail no more often than real images do"
    else:
        why = (
            f"{excess[bucket]:.0f} samples more are {bucket} ({MEANS[bucket]}) than of as many real "
            "images, the largest excess"
        )
    return {
        "bucket": bucket,
        "change": {f"{task}.{key}": value},
        "why": f"{why}; {hope}",
        "command": f"dvc exp run -S '{task}.{key}={value}'",
    }
