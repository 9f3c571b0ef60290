"""Checks of prepared samples: labels, groups, near duplicates."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stages.datasets.dataset import Dataset
from stages.training.sanity_checks.results import Check


def data_checks(folds: Sequence[Dataset], pairs: np.ndarray) -> list[Check]:
    """Return the checks of prepared samples; each must hold in every fold.

    Args:
        folds: the samples of each fold; without folds, of the single split.
        pairs: (m, 2), rows of near duplicates in the packed array, which also holds excluded samples.
    """
    by_fold = [_checks_of_split(dataset, pairs) for dataset in folds]
    if len(folds) == 1:
        return by_fold[0]
    return [*map(_in_every_fold, zip(*by_fold, strict=True)), check_folds(folds)]


def _checks_of_split(dataset: Dataset, pairs: np.ndarray) -> list[Check]:
    rows = dataset.samples["row"].to_numpy()
    position = np.full(max(rows.max(), pairs.max(initial=0)) + 1, -1)
    position[rows] = np.arange(len(rows))
    positions = position[pairs]
    return [
        check_labels(dataset),
        check_groups(dataset),
        check_duplicates(dataset, positions[(positions >= 0).all(axis=1)]),
    ]


def _in_every_fold(checks: Sequence[Check]) -> Check:
    """Return one check for all folds: what the first fold observes, or the first that fails."""
    for fold, check in enumerate(checks):
        if not check.passed:
            return replace(check, observed=f"fold {fold}: {check.observed}")
    return replace(checks[0], observed=f"{checks[0].observed} (fold 0 of {len(checks)}; all pass)")


def check_folds(folds: Sequence[Dataset]) -> Check:
    """Check that each sample is test data in one fold."""
    tested = np.concatenate([dataset.rows("test") for dataset in folds])
    rows, counts = np.unique(tested, return_counts=True)
    rows_in_use = {row for dataset in folds for row in dataset.samples["row"]}
    repeated, missing = int((counts > 1).sum()), len(rows_in_use) - len(rows)
    observed = f"{len(rows)} samples; test data in several folds: {repeated}, in none: {missing}"
    return Check("every sample is test data in one fold", not repeated and not missing, observed)


def check_labels(dataset: Dataset) -> Check:
    """Check that each label is the index of a class, and that each class has training samples."""
    labels = dataset.samples["label"].to_numpy()
    classes = len(dataset.classes)
    invalid = np.flatnonzero((labels < 0) | (labels >= classes))
    absent = sorted(set(range(classes)) - set(dataset.labels("train").tolist()))
    if len(invalid):
        first = dataset.samples.iloc[int(invalid[0])]
        observed = f"{len(invalid)} labels out of range, the first {first['label']} ({first['id']})"
    elif absent:
        observed = (
            f"no training sample of class {dataset.classes[absent[0]]!r} ({len(absent)} absent)"
        )
    else:
        observed = f"{len(labels)} labels, all from 0 to {classes - 1}; every class is in train"
    passed = not len(invalid) and not absent
    return Check("labels in range, every class in train", passed, observed)


def check_groups(dataset: Dataset) -> Check:
    """Check that no group (a writer, a cluster of near duplicates) is in two splits."""
    splits = dataset.samples.groupby("group")["split"].nunique()
    shared = splits[splits > 1].index
    observed = (
        f"groups in more than one split: {len(shared)}, the first {shared[0]!r}"
        if len(shared)
        else f"{len(splits)} groups, each in one split"
    )
    return Check("no group across splits", not len(shared), observed)


def check_duplicates(dataset: Dataset, pairs: np.ndarray) -> Check:
    """Check that no near-duplicate pair crosses two splits.

    Args:
        dataset: the samples.
        pairs: (m, 2), positions in the samples' table.
    """
    split = dataset.samples["split"].astype(str).to_numpy()
    crossing = pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]
    observed = f"near-duplicate pairs: {len(pairs)}, across splits: 0"
    if len(crossing):
        ids = " and ".join(dataset.samples["id"].iloc[crossing[0]])
        observed = f"near-duplicate pairs across splits: {len(crossing)}, the first {ids}"
    return Check("no duplicate across splits", not len(crossing), observed)
