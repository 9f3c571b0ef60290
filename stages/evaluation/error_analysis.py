"""Failure cases: the samples that a classifier gets wrong, their nearest neighbours, and likely causes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.files import read_arrays, read_csv, read_json
from stages.datasets.dataset import Dataset, read_dataset
from stages.evaluation.failure_causes import (
    FAR,
    Change,
    likely_causes,
    next_step,
    shared_diagnoses,
)
from stages.evaluation.folds import features_key, fold_numbers
from stages.evaluation.slices import worst_slice

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.schema import Failures
    from stages.core.task import Task

_REFERENCE_SAMPLES = 2000
_HALF = 0.5


@dataclass(frozen=True)
class FailureAnalysis:
    """Failure cases and their summary.

    Attributes:
        cases: a row for each wrong test sample, the most confident mistake first; where these are
            fewer than `failures.min_cases`, then the least confident correct ones ("weak").
        successes: correctly predicted samples, evenly spaced from the most to the least confident.
        summary: counts by change against the baseline, cause and bucket.
        next_step: one change, the reason for it, and the command that tries it.
        extra_files: further files of the kind.
    """

    cases: pd.DataFrame
    successes: pd.DataFrame
    summary: dict[str, Any]
    next_step: dict[str, Any]
    extra_files: "Mapping[str, Content]" = field(default_factory=dict)

    def files(self) -> "dict[str, Content]":
        """Return the files that the stage writes."""
        return {
            "cases.csv": self.cases,
            "successes.csv": self.successes,
            "summary.json": self.summary,
            "next_step.json": self.next_step,
            **self.extra_files,
        }


def analyse_classifier(
    task: "Task",
    changes: Mapping[str, Change],
    training: Mapping[str, Sequence[Change]] | None = None,
) -> FailureAnalysis:
    """Return a classifier's failure cases, correctly predicted samples, and the next step.

    Args:
        task: whose stage evaluate has run.
        changes: by cause of failure, as `next_step` takes them.
        training: by diagnosis, as `next_step` takes them.
    """
    folder, params = task.folder("evaluate"), task.params.failures
    diagnoses = shared_diagnoses(
        read_json(task.folder("train") / "diagnostics.json"),
        read_json(folder / "data_warnings.json"),
        len(task.folds()) * len(task.params.train.seeds),
    )
    text = {"id": str, "group": str, "bucket": str}
    predictions = read_csv(folder / "predictions.csv", dtype=text)
    seeds = [f"seed_{seed}" for seed in task.params.train.seeds]
    stored = read_arrays(folder / "probabilities.safetensors")
    probabilities = {seed: stored[seed] for seed in seeds}
    features = read_arrays(folder / "features.safetensors")
    dataset, folds = read_dataset(task), [read_dataset(fold) for fold in task.folds()]
    cases = find_failure_cases(folds, predictions, probabilities, features, params)
    slices = read_csv(folder / "slices.csv", dtype={"slice": str, "value": str})
    summary = {
        **summarise_failures(predictions, cases, seeds[0]),
        "worst_slice": worst_slice(slices),
    }
    return FailureAnalysis(
        cases,
        success_samples(dataset, predictions, seeds[0], params.show),
        summary,
        next_step(
            task.key("train"),
            summary["causes"],
            task.params.train,
            changes,
            diagnoses,
            training,
        ),
    )


def find_failure_cases(
    folds: Sequence[Dataset],
    predictions: pd.DataFrame,
    probabilities: Mapping[str, np.ndarray],
    features: Mapping[str, np.ndarray],
    params: "Failures",
) -> pd.DataFrame:
    """Return the failure cases of the primary seed's models.

    Args:
        folds: the prepared samples of each fold; without folds, of the single split.
        predictions: a row for each test sample: id, row, label, baseline (its predicted label), with folds
            fold, and perhaps bucket.
        probabilities: by seed, (n, classes) for the test samples each, the primary seed first.
        features: of the train and test samples of each fold, (n, width), as `features_key` names them.
        params: min_cases, neighbours, confident_probability.

    Returns:
        id, with folds fold, with groups group, row, kind (wrong, weak), true, predicted, confidence,
        probability_of_true, baseline, change (broken, persistent, fixed, kept), failure_rate (share of
        seeds), confidently_wrong, bucket
        (that of the predictions, or "true → predicted"; for a weak case the class with the second
        highest probability stands for the predicted one), cause, neighbours (ids), neighbour_rows,
        neighbour_labels, nearest_distance.
    """
    by_seed = np.stack(list(probabilities.values()))
    selected = _select_cases(by_seed[0], predictions["label"].to_numpy(), params.min_cases)
    fold_of = fold_numbers(predictions)
    parts = []
    for number, dataset in enumerate(folds):
        fold = number if len(folds) > 1 else None
        tested = np.flatnonzero(fold_of == number)
        places = np.flatnonzero(fold_of[selected] == number)
        cases = selected[places]
        queries = features[features_key("test", fold)][np.searchsorted(tested, cases)]
        training = features[features_key("train", fold)]
        part = _describe_cases(
            dataset, predictions.iloc[cases], by_seed[:, cases], (queries, training), params
        )
        parts.append(part.set_index(places))
    return pd.concat(parts).sort_index().reset_index(drop=True)


def _describe_cases(
    dataset: Dataset,
    rows: pd.DataFrame,
    by_seed: np.ndarray,
    features: tuple[np.ndarray, np.ndarray],
    params: "Failures",
) -> pd.DataFrame:
    """Return the description of the cases of one fold.

    Args:
        dataset: of the fold.
        rows: the predictions of the cases.
        by_seed: (seeds, cases, classes), their probabilities.
        features: of the cases, and of the training samples.
        params: neighbours, confident_probability.
    """
    if rows.empty:
        return pd.DataFrame()
    queries, training = features
    labels = rows["label"].to_numpy()
    primary, predicted = by_seed[0], by_seed.argmax(axis=2)
    wrong = predicted[0] != labels
    confused = np.where(wrong, predicted[0], np.argsort(-primary, axis=1, kind="stable")[:, 1])

    train = dataset.part("train")
    indices, distances = nearest_neighbours(queries, training, params.neighbours)
    neighbour_labels = train["label"].to_numpy()[indices]
    failure_rate = (predicted != labels).mean(axis=0)
    confidently_wrong = (
        wrong
        & (not dataset.note.get("synthetic"))  # labels of drawn samples are right by construction
        & _agree_with_confidence(by_seed, confused, neighbour_labels, params.confident_probability)
    )
    far = distances[:, 0] > _usual_distance(training)
    names = np.array(dataset.classes, dtype=object)
    columns = {*rows.columns} - (set() if dataset.note.get("grouped") else {"group"})
    pairs = [f"{names[t]} → {names[c]}" for t, c in zip(labels, confused, strict=True)]
    return pd.DataFrame(
        {
            "id": rows["id"].to_numpy(),
            **{key: rows[key].to_numpy() for key in ("fold", "group") if key in columns},
            "row": rows["row"].to_numpy(),
            "kind": np.where(wrong, "wrong", "weak"),
            "true": names[labels],
            "predicted": names[predicted[0]],
            "confidence": primary.max(axis=1).astype(float),
            "probability_of_true": primary[np.arange(len(labels)), labels].astype(float),
            "baseline": names[rows["baseline"].to_numpy()],
            "change": _changes(~wrong, rows["baseline"].to_numpy() == labels),
            "failure_rate": failure_rate,
            "confidently_wrong": confidently_wrong,
            "bucket": rows["bucket"].to_numpy() if "bucket" in rows else pairs,
            "cause": likely_causes(
                labels, confused, neighbour_labels, far, failure_rate, confidently_wrong
            ),
            **_neighbour_columns(train, indices, names),
            "nearest_distance": distances[:, 0].astype(float),
        }
    )


def _neighbour_columns(
    train: pd.DataFrame, indices: np.ndarray, names: np.ndarray
) -> dict[str, list[str]]:
    """Return the ids, rows and classes of the neighbours of each case, joined."""
    ids, rows, labels = (train[column].to_numpy()[indices] for column in ("id", "row", "label"))
    return {
        "neighbours": [" | ".join(case) for case in ids],
        "neighbour_rows": [" ".join(map(str, case)) for case in rows],
        "neighbour_labels": [" | ".join(case) for case in names[labels]],
    }


def _select_cases(probabilities: np.ndarray, labels: np.ndarray, min_cases: int) -> np.ndarray:
    """Return the indices of all wrong samples and of as many weak ones as make up `min_cases`."""
    confidence = probabilities.max(axis=1)
    wrong = probabilities.argmax(axis=1) != labels
    mistakes, correct = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    mistakes = mistakes[np.argsort(-confidence[mistakes], kind="stable")]
    weak = correct[np.argsort(confidence[correct], kind="stable")]
    return np.concatenate([mistakes, weak[: max(0, min_cases - len(mistakes))]])


def nearest_neighbours(
    queries: np.ndarray, features: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of `features` to each query by Euclidean distance, nearest first.

    Args:
        queries: (m, width), at least one.
        features: (n, width).
        count: how many to return, at most all n.

    Returns:
        Indices and distances, (m, count) each; equally near features in the order of their indices.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(count, len(features)), algorithm="brute")
    distances, indices = search.fit(features).kneighbors(queries)
    order = np.lexsort((indices, distances), axis=1)
    return np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _usual_distance(features: np.ndarray) -> float:
    """Return the 95% quantile of the distance of training samples to their nearest neighbour.

    Of more than 2,000 samples, (n, width), every k-th is measured.
    """
    step = -(-len(features) // _REFERENCE_SAMPLES)
    _, distances = nearest_neighbours(features[::step], features, 2)  # the first is the sample
    return float(np.quantile(distances[:, -1], FAR))


def _agree_with_confidence(
    by_seed: np.ndarray, confused: np.ndarray, neighbour_labels: np.ndarray, probability: float
) -> np.ndarray:
    """Return whether all runs predict the confused class with confidence, and most neighbours have it."""
    predicted = by_seed.argmax(axis=2)
    # One seed's model has none to agree with.
    agree = (predicted == predicted[0]).all(axis=0) & (len(by_seed) > 1)
    confident = by_seed.mean(axis=0)[np.arange(len(confused)), confused] >= probability
    neighbours_agree = (neighbour_labels == confused[:, None]).mean(axis=1) > _HALF
    result: np.ndarray = agree & confident & neighbours_agree
    return result


def _changes(correct: np.ndarray, baseline_correct: np.ndarray) -> np.ndarray:
    return np.where(
        correct,
        np.where(baseline_correct, "kept", "fixed"),
        np.where(baseline_correct, "broken", "persistent"),
    )


def success_samples(
    dataset: Dataset, predictions: pd.DataFrame, seed: str, count: int
) -> pd.DataFrame:
    """Return correct predictions, evenly spaced from the most to the least confident.

    Args:
        dataset: the classes' names are used.
        predictions: a row for each test sample: id, row, label, baseline, confidence, and the label
            predicted for each seed.
        seed: the column of the primary seed's model, such as "seed_0".
        count: how many samples to return, at most.
    """
    correct = predictions[predictions[seed] == predictions["label"]]
    correct = correct.sort_values(["confidence", "id"], ascending=[False, True])
    spaced = np.linspace(0, len(correct) - 1, min(count, len(correct))).astype(int)
    samples = correct.iloc[np.unique(spaced)]
    names = np.array(dataset.classes, dtype=object)
    return pd.DataFrame(
        {
            "id": samples["id"].to_numpy(),
            "row": samples["row"].to_numpy(),
            "true": names[samples["label"].to_numpy()],
            "predicted": names[samples[seed].to_numpy()],
            "confidence": samples["confidence"].to_numpy(),
            "baseline": names[samples["baseline"].to_numpy()],
        }
    )


def summarise_failures(predictions: pd.DataFrame, cases: pd.DataFrame, seed: str) -> dict[str, Any]:
    """Return counts of all test samples by change, and of the cases by kind, cause and bucket.

    Args:
        predictions: as `success_samples` takes them.
        cases: as `find_failure_cases` returns them.
        seed: the column of the primary seed's model.
    """
    correct = (predictions[seed] == predictions["label"]).to_numpy()
    baseline_correct = (predictions["baseline"] == predictions["label"]).to_numpy()
    changes = _changes(correct, baseline_correct)
    return {
        "changes": {
            name: int((changes == name).sum()) for name in ("fixed", "broken", "persistent", "kept")
        },
        "failure_case_count": len(cases),
        "kinds": _counts(cases["kind"]),
        "causes": _counts(cases["cause"]),
        "buckets": _counts(cases["bucket"]),
        "confidently_wrong": int(cases["confidently_wrong"].sum()),
    }


def _counts(column: pd.Series) -> dict[str, int]:
    counts = column.value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index)}
