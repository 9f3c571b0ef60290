"""Splits into training, validation and test data, and folds: no group is in two splits."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from stages.core.errors import UserError
from stages.datasets.dataset import EXCLUDED, SPLITS

if TYPE_CHECKING:
    from stages.core.schema import Split

HELD_OUT = ("validation", "test")
_MIXED = 0.1  # share of groups with several classes up to which the draw is stratified by class


def split_by_group(
    groups: np.ndarray, labels: np.ndarray, official: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample: "train", "validation" or "test".

    Groups are drawn, not samples, and the draw is stratified by class where nearly every group has
    samples of one class only (as where each sample is its own group). A class with at least as many groups
    as there are splits is in each of them.

    Official test and validation data keep their split. A group in several official splits belongs, as a
    whole, to the last of them in the order train, validation, test. A split without official data is
    drawn from all other groups.

    Args:
        groups: (n,), the group of each sample.
        labels: (n,), the class of each sample.
        official: (n,), the split that the source gives each sample, "" where it gives none.
        params: the shares of groups to hold out, and the seed of the split.

    Raises:
        UserError: there are fewer groups than splits to draw.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    split = _official_splits(group_of, len(names), official)
    shares = {name: share for name, share in _shares(split, params).items() if share}
    rest = np.flatnonzero(split == "train")
    if len(rest) <= len(shares):
        raise UserError(
            f"{len(rest)} groups cannot fill {len(shares) + 1} splits; at least {len(shares) + 1} are "
            "needed (without groups, each sample is one)"
        )
    group, label, samples = _classes(group_of, labels)
    strata = _strata(group, label, samples)
    free = split == "train"
    for to_fill, (name, share) in zip(range(len(shares), 0, -1), shares.items(), strict=True):
        rest, held_out = _hold_out(rest, strata[rest], share, params.seed, to_fill)
        split[held_out] = name
    return _spread_classes(split, group, label, free, ["train", *shares])[group_of]


def _official_splits(group_of: np.ndarray, count: int, official: np.ndarray) -> np.ndarray:
    """Return the split of each group, (count,), before any draw: the last of its samples' official ones."""
    rank = np.zeros(count, dtype=np.int64)
    for number, name in enumerate(SPLITS):
        rank[group_of[official == name]] = number
    return np.array(SPLITS)[rank]


def _shares(split: np.ndarray, params: "Split") -> dict[str, float]:
    """Return the share of the remaining groups to draw for each split, test first; 0 where official."""
    test, validation = params.shares
    test = 0.0 if (split == "test").any() else test
    validation = 0.0 if (split == "validation").any() else validation
    return {"test": test, "validation": validation / (1 - test)}


def _classes(group_of: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each class that a group has, sorted by group: the group, the class's index, the samples."""
    _, label_of = np.unique(labels, return_inverse=True)
    count = label_of.max() + 1
    keys, samples = np.unique(group_of * count + label_of, return_counts=True)
    return keys // count, keys % count, samples


def _strata(group: np.ndarray, label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the stratum of each group: its class, or the commonest of its classes.

    There is one stratum for all where more than a tenth of the groups have several classes: such groups
    (all samples of a writer) carry their own balance, and one class does not describe them.
    """
    order = np.lexsort((label, -samples, group))
    _, first, classes = np.unique(group[order], return_index=True, return_counts=True)
    strata: np.ndarray = label[order][first]
    return strata if np.mean(classes > 1) <= _MIXED else np.zeros_like(strata)


def _hold_out(
    units: np.ndarray, strata: np.ndarray, share: float, seed: int, splits_to_fill: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the remaining units and a random share of them to hold out, sorted.

    The draw is stratified; strata with too few units for all splits join the largest one. At least one
    unit for each stratum remains for each of `splits_to_fill`.
    """
    names, sizes = np.unique(strata, return_counts=True)
    small = names[sizes <= splits_to_fill]
    strata = np.where(np.isin(strata, small), names[sizes.argmax()], strata)
    least = max(1, len(names) - len(small))
    count = min(max(least, round(share * len(units))), len(units) - splits_to_fill * least)
    remaining, held_out = train_test_split(
        units, test_size=count, random_state=seed, stratify=strata if least > 1 else None
    )
    return np.sort(remaining), np.sort(held_out)


def _spread_classes(
    split: np.ndarray, group: np.ndarray, label: np.ndarray, free: np.ndarray, names: list[str]
) -> np.ndarray:
    """Return the split of each group, changed so that each class is in each of the splits `names`.

    Groups move one by one, and only where no other class and no split loses its last group. A class with
    fewer groups than splits is in the first of them: training data come first, for what is never learned
    cannot be recognised, then test data.

    Args:
        split: (groups,), the split of each group.
        group: (m,), sorted: a group of each class that a group has.
        label: (m,), that class, from 0.
        free: (groups,), bool: the groups that may move, which are in one of `names`.
        names: of the splits.
    """
    split = split.copy()
    start = np.searchsorted(group, np.arange(len(split) + 1))
    place = np.select([split == name for name in names], range(len(names)), -1)
    place[~free] = -1
    sizes = np.bincount(place[free], minlength=len(names))
    counts = np.zeros((label.max() + 1, len(names)), dtype=np.int64)
    has_place = place[group] >= 0
    np.add.at(counts, (label[has_place], place[group[has_place]]), 1)
    needs = np.arange(len(names)) < counts.sum(axis=1, keepdims=True)  # of each class, which splits
    for rare, target in np.argwhere(needs & (counts == 0)):
        candidates = group[label == rare]
        candidates = candidates[place[candidates] >= 0]
        for unit in sorted(candidates, key=lambda group_: -counts[rare, place[group_]]):
            source, classes = place[unit], label[start[unit] : start[unit + 1]]
            last = needs[classes, source] & (counts[classes, source] == 1)
            if sizes[source] > 1 and not last.any():
                place[unit], split[unit] = target, names[target]
                counts[classes, source] -= 1
                counts[classes, target] += 1
                sizes[source] -= 1
                sizes[target] += 1
                break
    return split


def draw_folds(groups: np.ndarray, labels: np.ndarray, params: "Split") -> np.ndarray:
    """Return the part of each sample, (n,), from 0: a fold tests one part and validates on the next one.

    Groups are drawn, not samples, so that parts have nearly the same number of samples of each class.

    Args:
        groups: (n,), the group of each sample.
        labels: (n,), the class of each sample.
        params: the number of folds, and the seed.

    Raises:
        UserError: there are fewer groups than folds.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < params.folds:
        raise UserError(
            f"{len(names)} groups cannot fill {params.folds} folds (without groups, each sample is one); "
            "lower prepare.split.folds"
        )
    classes, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rare = counts < params.folds  # cannot be in each part, so the draw does not balance them
    strata = np.where(rare, counts.argmax(), np.arange(len(classes)))[class_of]
    draw = StratifiedGroupKFold(params.folds, shuffle=True, random_state=params.seed)
    part = np.zeros(len(groups), dtype=np.int64)
    for number, (_, members) in enumerate(draw.split(strata, strata, group_of)):
        part[members] = number
    return part


def split_of_fold(part: np.ndarray, fold: int, folds: int, pairs: np.ndarray) -> np.ndarray:
    """Return the split of each sample in one fold, (n,): "train", "validation", "test" or "excluded".

    Excluded is what `cross_split_duplicates` names.

    Args:
        part: (n,), as `draw_folds` returns it.
        fold: whose test data are the part of the same number; the next part is for validation.
        folds: how many there are.
        pairs: (m, 2), the near-duplicate pairs.
    """
    split = np.select([part == fold, part == (fold + 1) % folds], ["test", "validation"], "train")
    return np.where(cross_split_duplicates(split, pairs), EXCLUDED, split)


def split_stratified(
    units: np.ndarray, strata: np.ndarray, official: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample, drawn within strata, so that each split has its share of each.

    Strata too small to give every split a unit are merged.

    Args:
        units: (n,), what is drawn as a whole: the cluster of near duplicates of each sample.
        strata: (n,), the stratum of each sample; the first sample of a unit decides for the unit.
        official: (n,), as for `split_by_group`.
        params: the shares of units to hold out, and the seed of the split.

    Raises:
        UserError: there are fewer units than splits.
    """
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    stratum = strata[first].astype(object)
    free = np.ones(len(stratum), dtype=bool)
    free[unit_of[np.isin(official, HELD_OUT)]] = False
    names, counts = np.unique(stratum[free].astype(str), return_counts=True)
    shares = params.shares
    least = np.ceil(1 / min(*shares, 1 - sum(shares)))
    rare = {str(name) for name in strata} - set(names[counts >= least])
    rare_units = counts[counts < least].sum()
    # Rare strata that are too small even together join the largest one.
    merged = "rare" if rare_units >= least or not len(names) else names[counts.argmax()]
    stratum = np.array(
        [merged if name in rare else name for name in stratum.astype(str)], dtype=object
    )
    return split_by_group(units, stratum[unit_of].astype(str), official, params)


def cross_split_duplicates(split: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the samples to exclude so that no near-duplicate pair crosses two splits, (n,), bool.

    Of a pair the sample whose split comes first in train, validation, test is excluded.

    Args:
        split: (n,), of each sample.
        pairs: (m, 2), the near-duplicate pairs.
    """
    rank = np.select([split == name for name in SPLITS], [0, 1, 2])
    first, second = pairs[:, 0], pairs[:, 1]
    excluded = np.zeros(len(split), dtype=bool)
    excluded[first[rank[first] < rank[second]]] = True
    excluded[second[rank[second] < rank[first]]] = True
    return excluded


def duplicate_clusters(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return the cluster of each of `count` samples, (count,), int: the components that `pairs` connect."""
    edges = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((edges, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    clusters: np.ndarray = connected_components(graph, directed=False)[1]
    return clusters
