"""Splits into training, validation and test data: no group is in two splits."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import train_test_split

from stages.core.errors import UserError

if TYPE_CHECKING:
    from stages.core.schema import Split

SPLITS = ("train", "validation", "test")


def split_by_group(
    groups: np.ndarray, labels: np.ndarray, official_test: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample: "train", "validation" or "test".

    Groups are drawn, not samples. Where every group has samples of one class only (as where each
    sample is its own group), the draw is stratified by class. A group with a sample in the source's
    official test data is test data as a whole.

    Args:
        groups: (n,), the group of each sample.
        labels: (n,), the class of each sample.
        official_test: (n,), bool; where any is set, no further test data are drawn.
        params: the shares of groups to hold out, and the seed of the split.

    Raises:
        UserError: there are fewer groups than splits.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    first = np.full(len(names), -1)
    first[group_of[::-1]] = np.arange(len(groups))[::-1]
    group_label = labels[first]
    one_class_each = bool(np.all(group_label[group_of] == labels))
    units = np.arange(len(names))
    is_official = np.zeros(len(names), dtype=bool)
    np.logical_or.at(is_official, group_of, official_test)
    splits_to_fill = 2 if is_official.any() else 3
    if np.count_nonzero(~is_official) < splits_to_fill:
        raise UserError(
            f"{np.count_nonzero(~is_official)} groups cannot fill {splits_to_fill} splits; at least "
            f"{splits_to_fill} are needed (without groups, each sample is one)"
        )
    split = np.full(len(names), "train", dtype="U10")
    split[is_official] = "test"
    remaining = units[~is_official]
    strata = group_label if one_class_each else np.zeros_like(group_label)
    share = params.validation
    if not is_official.any():
        share = params.validation / (1 - params.test)
        remaining, test = _hold_out(
            remaining, strata[remaining], params.test, params.seed, splits_to_fill=2
        )
        split[test] = "test"
    _, validation = _hold_out(remaining, strata[remaining], share, params.seed, splits_to_fill=1)
    split[validation] = "validation"
    return split[group_of]


def _hold_out(
    units: np.ndarray, labels: np.ndarray, share: float, seed: int, splits_to_fill: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the remaining units and a random share of them to hold out, sorted.

    The draw is stratified by label if each label has enough units for all splits, and simple
    otherwise. At least one unit (stratified: one of each label) remains for each of `splits_to_fill`.
    """
    names, sizes = np.unique(labels, return_counts=True)
    least, strata = 1, None
    if len(names) > 1 and sizes.min() > splits_to_fill:
        least, strata = len(names), labels
    count = min(max(least, round(share * len(units))), len(units) - splits_to_fill * least)
    remaining, held_out = train_test_split(
        units, test_size=count, random_state=seed, stratify=strata
    )
    return np.sort(remaining), np.sort(held_out)


def split_stratified(
    units: np.ndarray, strata: np.ndarray, official_test: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample, drawn within strata, so that each split has its share of each.

    Strata too small to give every split a unit are merged.

    Args:
        units: (n,), what is drawn as a whole: the cluster of near duplicates of each sample.
        strata: (n,), the stratum of each sample; the first sample of a unit decides for the unit.
        official_test: (n,), bool, as for `split_by_group`.
        params: the shares of units to hold out, and the seed of the split.

    Raises:
        UserError: there are fewer units than splits.
    """
    _, first, unit_of = np.unique(units, return_index=True, return_inverse=True)
    stratum = strata[first].astype(object)
    drawn = np.ones(len(stratum), dtype=bool)
    np.logical_and.at(drawn, unit_of, ~official_test)
    names, counts = np.unique(stratum[drawn].astype(str), return_counts=True)
    least = np.ceil(1 / min(params.test, params.validation, 1 - params.test - params.validation))
    rare = {str(name) for name in strata} - set(names[counts >= least])
    rare_units = counts[counts < least].sum()
    # Rare strata that are too small even together join the largest one: `_hold_out` does not stratify
    # at all if one stratum is too small.
    merged = "rare" if rare_units >= least or not len(names) else names[counts.argmax()]
    stratum = np.array(
        [merged if name in rare else name for name in stratum.astype(str)], dtype=object
    )
    return split_by_group(units, stratum[unit_of].astype(str), official_test, params)


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
