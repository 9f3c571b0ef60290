"""Failure cases: which samples fail, how surely, beside what they lie, and why that may be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared.dataset import Dataset
from stages.shared.files import read_arrays, read_csv

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.schema import Failures
    from stages.shared.task import Task

FAR = 0.95

SUSPECT = "suspect label"
WEAK = "weak but right"
LUCK = "luck of the seed"
UNLIKE = "unlike the training data"
BETWEEN = "between two classes"
DRAWN = "drawn to another class"
AMONG = "among its own class"

CAUSES = {
    SUSPECT: "every seed's model gives the same other label, surely enough, and so do most of the "
    "nearest training samples",
    WEAK: "no seed's model fails on it, but the headline is not sure",
    LUCK: "fewer than half of the seeds' models fail on it",
    UNLIKE: f"further from its nearest training sample than {FAR:.0%} of these are from theirs",
    BETWEEN: "its nearest training samples are of both classes, the true and the predicted",
    DRAWN: "its nearest training samples are not of its own class",
    AMONG: "its nearest training samples are of its own class, and yet most models fail",
}
_REFERENCE = 2000
_DISTANCES = 16_000_000  # held at once


@dataclass(frozen=True)
class Cases:
    """Failure cases and their summary.

    Attributes:
        cases: a row a wrong test sample, the surest mistake first; then, where fewer are wrong
            than asked for, the least confident right ones ("weak").
        successes: right samples, evenly spaced from the surest to the least sure.
        summary: counts by change against the baseline, cause and bucket.
        next_step: one change, why, and the command that tries it.
        more: further files.
    """

    cases: pd.DataFrame
    successes: pd.DataFrame
    summary: dict[str, Any]
    next_step: dict[str, Any]
    more: "dict[str, Content]" = field(default_factory=dict)

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes."""
        return {
            "cases.csv": self.cases,
            "successes.csv": self.successes,
            "summary.json": self.summary,
            "next_step.json": self.next_step,
            **self.more,
        }


def nearest(queries: np.ndarray, features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the `count` nearest of `features` to each query, nearest first, and their distances.

    Args:
        queries: (m, width).
        features: (n, width).
        count: at most n.

    Returns:
        (m, count) of indices, (m, count) of Euclidean distances.
    """
    count = min(count, len(features))
    squares = np.einsum("ij,ij->i", features, features)
    places, distances = [], []
    at_once = max(1, _DISTANCES // len(features))
    for start in range(0, len(queries), at_once):
        part = queries[start : start + at_once]
        squared = squares - 2 * part @ features.T + np.einsum("ij,ij->i", part, part)[:, None]
        some = np.argpartition(squared, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(squared, some, axis=1)
        order = np.lexsort((some, found), axis=1)
        places.append(np.take_along_axis(some, order, axis=1))
        distances.append(np.sqrt(np.maximum(np.take_along_axis(found, order, axis=1), 0)))
    if not places:
        return np.empty((0, count), dtype=np.int64), np.empty((0, count))
    return np.concatenate(places), np.concatenate(distances)


def _usual_distance(features: np.ndarray) -> float:
    """Return the distance within which 95% of (at most 2,000) training samples have a neighbour."""
    step = -(-len(features) // _REFERENCE)
    _, distances = nearest(features[::step], features, 2)
    return float(np.quantile(distances[:, -1], FAR))


def _choose(wrong: np.ndarray, confidence: np.ndarray, at_least: int) -> np.ndarray:
    mistakes = np.flatnonzero(wrong)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")]
    right = np.flatnonzero(~wrong)
    weak = right[np.argsort(confidence[right], kind="stable")][: max(0, at_least - len(mistakes))]
    return np.concatenate([mistakes, weak])


def _causes(
    labels: np.ndarray,
    others: np.ndarray,
    neighbours: np.ndarray,
    far: np.ndarray,
    failing: np.ndarray,
    suspect: np.ndarray,
) -> np.ndarray:
    of_own = (neighbours == labels[:, None]).any(axis=1)
    of_other = (neighbours == others[:, None]).any(axis=1)
    return np.select(
        [suspect, failing == 0, failing < 0.5, far, of_own & of_other, ~of_own],  # noqa: PLR2004
        [SUSPECT, WEAK, LUCK, UNLIKE, BETWEEN, DRAWN],
        AMONG,
    )


def find(
    dataset: Dataset,
    predictions: pd.DataFrame,
    probabilities: dict[str, np.ndarray],
    features: dict[str, np.ndarray],
    params: "Failures",
) -> pd.DataFrame:
    """Return the failure cases of the headline model (the first of `probabilities`).

    A case's bucket is its prediction's "bucket", where the predictions have that column.

    Columns: id, row, kind (wrong, weak), true, predicted, confidence, probability_of_true,
    baseline, change (broken, persistent, fixed, kept), failure_rate (share of seeds), suspect_label,
    bucket ("true → predicted"; for a weak one the second guess stands for the predicted), cause,
    neighbours (ids), neighbour_rows, neighbour_labels, nearest_distance.
    """
    labels = predictions["label"].to_numpy()
    stack = np.stack(list(probabilities.values()))
    headline, guesses = stack[0], stack.argmax(axis=2)
    wrong = guesses[0] != labels
    chosen = _choose(wrong, headline.max(axis=1), params.at_least)
    labels, stack, guesses, wrong = (
        labels[chosen],
        stack[:, chosen],
        guesses[:, chosen],
        wrong[chosen],
    )
    headline = stack[0]
    everyone = np.arange(len(chosen))
    second = np.argsort(-headline, axis=1, kind="stable")[:, 1]
    others = np.where(wrong, guesses[0], second)

    places, distances = nearest(features["test"][chosen], features["train"], params.neighbours)
    train = dataset.part("train")
    neighbour_labels = train["label"].to_numpy()[places]
    agreed = (guesses == guesses[0]).all(axis=0)
    sure = stack.mean(axis=0)[everyone, others] >= params.suspect_margin
    most = (neighbour_labels == others[:, None]).mean(axis=1) > 0.5  # noqa: PLR2004
    suspect = wrong & agreed & sure & most
    failing = (guesses != labels).mean(axis=0)
    far = distances[:, 0] > _usual_distance(features["train"])
    cause = _causes(labels, others, neighbour_labels, far, failing, suspect)

    kept = predictions.iloc[chosen]
    baseline = kept["baseline"].to_numpy()
    base_right = baseline == labels
    change = np.where(
        wrong,
        np.where(base_right, "broken", "persistent"),
        np.where(base_right, "kept", "fixed"),
    )
    names = np.array(dataset.classes, dtype=object)
    pairs = [f"{names[t]} → {names[o]}" for t, o in zip(labels, others, strict=True)]
    ids, rows = train["id"].to_numpy()[places], train["row"].to_numpy()[places]
    return pd.DataFrame(
        {
            "id": kept["id"].to_numpy(),
            "row": kept["row"].to_numpy(),
            "kind": np.where(wrong, "wrong", "weak"),
            "true": names[labels],
            "predicted": names[guesses[0]],
            "confidence": headline.max(axis=1).astype(float),
            "probability_of_true": headline[everyone, labels].astype(float),
            "baseline": names[baseline],
            "change": change,
            "failure_rate": failing,
            "suspect_label": suspect,
            "bucket": kept["bucket"].to_numpy() if "bucket" in kept else pairs,
            "cause": cause,
            "neighbours": [" | ".join(map(str, one)) for one in ids],
            "neighbour_rows": [" ".join(map(str, one)) for one in rows],
            "neighbour_labels": [" | ".join(names[one]) for one in neighbour_labels],
            "nearest_distance": distances[:, 0].astype(float),
        }
    )


def successes(
    dataset: Dataset, predictions: pd.DataFrame, headline: str, count: int
) -> pd.DataFrame:
    """Return right predictions, evenly spaced from the surest to the least sure."""
    right = predictions[predictions[headline] == predictions["label"]]
    right = right.sort_values(["confidence", "id"], ascending=[False, True])
    places = np.unique(np.linspace(0, len(right) - 1, min(count, len(right))).astype(int))
    some = right.iloc[places]
    names = np.array(dataset.classes, dtype=object)
    return pd.DataFrame(
        {
            "id": some["id"].to_numpy(),
            "row": some["row"].to_numpy(),
            "true": names[some["label"].to_numpy()],
            "predicted": names[some[headline].to_numpy()],
            "confidence": some["confidence"].to_numpy(),
            "baseline": names[some["baseline"].to_numpy()],
        }
    )


def summarise(predictions: pd.DataFrame, cases: pd.DataFrame, headline: str) -> dict[str, Any]:
    """Return counts: over all test samples by change, over the cases by kind, cause and bucket."""
    right = predictions[headline] == predictions["label"]
    before = predictions["baseline"] == predictions["label"]
    return {
        "changes": {
            "fixed": int((right & ~before).sum()),
            "broken": int((~right & before).sum()),
            "persistent": int((~right & ~before).sum()),
            "kept": int((right & before).sum()),
        },
        "failure_case_count": len(cases),
        "kinds": _counts(cases["kind"]),
        "causes": _counts(cases["cause"]),
        "buckets": _counts(cases["bucket"]),
        "suspect_labels": int(cases["suspect_label"].sum()),
    }


def _counts(column: pd.Series) -> dict[str, int]:
    counts = column.value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index)}


Change = tuple[str, Any, str]


def smoothing(params: Any) -> dict[str, Change]:
    """Return what suspect labels and weak right answers ask of any classifier's training."""
    given: float = params.label_smoothing
    return {
        SUSPECT: (
            "label_smoothing",
            min(0.5, round(given + 0.05, 3)),
            "softer targets lessen the pull of wrong labels; look at the suspect ones by eye first",
        ),
        WEAK: (
            "label_smoothing",
            max(0.0, round(given - 0.05, 3)),
            "sharper targets let the model be as sure as it is right",
        ),
    }


def next_step(
    task: str, causes: dict[str, int], params: Any, changes: Mapping[str, Change]
) -> dict[str, Any]:
    """Return the change that the most frequent cause asks for, and the command that tries it.

    Of equally frequent causes the first in the order of `CAUSES` counts. Longer training is what a
    cause asks for that `changes` leaves out, or whose change is made already.

    Args:
        task: the params' section.
        causes: cases by cause.
        params: of the stage train.
        changes: by cause, the param below `<task>.train`, its new value, and what that should do.
    """
    cause = max(CAUSES, key=lambda name: causes.get(name, 0))
    longer = (
        "epochs",
        params.epochs + (params.epochs + 1) // 2,
        "longer training lets the seeds' models agree on samples that now only some get right",
    )
    key, value, effect = changes.get(cause, longer)
    if value == attrgetter(key)(params):
        key, value, effect = longer
    key = f"{task}.train.{key}"
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


def failing(task: "Task", dataset: Dataset, changes: Mapping[str, Change]) -> Cases:
    """Return a classifier's failure cases, some successes, and the next step.

    Args:
        task: whose evaluation has left its results.
        dataset: the prepared samples.
        changes: as `next_step` takes them.
    """
    folder = task.folder("evaluate")
    text = {"id": str, "group": str, "bucket": str}
    predictions = read_csv(folder / "predictions.csv", dtype=text)
    seeds = [f"seed_{seed}" for seed in task.params.train.seeds]
    stored = read_arrays(folder / "probabilities.safetensors")
    table = find(
        dataset,
        predictions,
        {seed: stored[seed] for seed in seeds},
        read_arrays(folder / "features.safetensors"),
        task.params.failures,
    )
    summary = summarise(predictions, table, seeds[0])
    return Cases(
        table,
        successes(dataset, predictions, seeds[0], task.params.failures.show),
        summary,
        next_step(task.name, summary["causes"], task.params.train, changes),
    )
