"""Splits into training, validation and test data: no group is in two splits."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import train_test_split

from stages.core.errors import UserError
from stages.datasets.dataset import SPLITS

if TYPE_CHECKING:
    from stages.core.schema import Split

HELD_OUT = ("validation", "test")


def split_by_group(
    groups: np.ndarray, labels: np.ndarray, official: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample: "train", "validation" or "test".

    Groups are drawn, not samples, and the draw is stratified by class where nearly every group has
    samples of one class only (as where each sample is its own group).

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
    drawn = {name: share for name, share in _shares(split, params).items() if share}
    rest = np.flatnonzero(split == "train")
    if len(rest) <= len(drawn):
        raise UserError(
            f"{len(rest)} groups cannot fill {len(drawn) + 1} splits; at least {len(drawn) + 1} are "
            "needed (without groups, each sample is one)"
        )
    strata = _strata(group_of, labels)
    for to_fill, (name, share) in zip(range(len(drawn), 0, -1), drawn.items(), strict=True):
        rest, held_out = _hold_out(rest, strata[rest], share, params.seed, to_fill)
        split[held_out] = name
    return split[group_of]


def _official_splits(group_of: np.ndarray, count: int, official: np.ndarray) -> np.ndarray:
    """Return the split of each group, (count,), before any draw: the last of its samples' official ones."""
    rank = np.zeros(count, dtype=np.int64)
    for number, name in enumerate(SPLITS):
        rank[group_of[official == name]] = number
    return np.array(SPLITS)[rank]


def _shares(split: np.ndarray, params: "Split") -> dict[str, float]:
    """Return the share of the remaining groups to draw for each split, test first; 0 where official."""
    test = 0.0 if (split == "test").any() else params.test
    validation = 0.0 if (split == "validation").any() else params.validation
    return {"test": test, "validation": validation / (1 - test)}


def _strata(group_of: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the stratum of each group, its class; one stratum for all where groups mix classes."""
    first = np.full(group_of.max() + 1, -1)
    first[group_of[::-1]] = np.arange(len(group_of))[::-1]
    strata = labels[first]
    if np.all(strata[group_of] == labels):
        return strata
    return np.zeros_like(strata)


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
    drawn = np.ones(len(stratum), dtype=bool)
    drawn[unit_of[np.isin(official, HELD_OUT)]] = False
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
