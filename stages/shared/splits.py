"""Splits by group: whoever is in one split is in no other."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import train_test_split

from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.schema import Split

SPLITS = ("train", "validation", "test")


def _hold_out(
    units: np.ndarray, labels: np.ndarray, share: float, seed: int, still_to_fill: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the units kept and those held out.

    Each class keeps its share where every class has units for all sides; where one has too few,
    units are drawn without regard to class.
    """
    names, sizes = np.unique(labels, return_counts=True)
    least, strata = 1, None
    if len(names) > 1 and sizes.min() > still_to_fill:
        least, strata = len(names), labels
    count = min(max(least, round(share * len(units))), len(units) - still_to_fill * least)
    kept, held = train_test_split(units, test_size=count, random_state=seed, stratify=strata)
    return np.sort(kept), np.sort(held)


def split_by_group(
    groups: np.ndarray, labels: np.ndarray, official_test: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample: "train", "validation" or "test".

    Groups, not samples, are drawn. Where each group holds samples of one class only (as where
    every sample is its own group), the draw keeps the classes' shares. A group with a sample in the
    source's own test data is test data whole.

    Args:
        groups: (n,), who or what each sample belongs to.
        labels: (n,), its class.
        official_test: (n,), bool; where any is set, no further test data are drawn.
        params: the shares of groups to hold out, and the split's own seed.

    Raises:
        Refusal: there are too few groups to give each split one.
    """
    names, member = np.unique(groups, return_inverse=True)
    first = np.full(len(names), -1)
    first[member[::-1]] = np.arange(len(groups))[::-1]
    group_label = labels[first]
    pure = bool(np.all(group_label[member] == labels))
    units = np.arange(len(names))
    given = np.zeros(len(names), dtype=bool)
    np.logical_or.at(given, member, official_test)
    needed = 2 if given.any() else 3
    if np.count_nonzero(~given) < needed:
        raise Refusal(
            f"{np.count_nonzero(~given)} groups cannot fill {needed} splits; at least {needed} are "
            "needed (writers, or samples where each stands for itself)"
        )
    split = np.full(len(names), "train", dtype="U10")
    split[given] = "test"
    rest = units[~given]
    strata = group_label if pure else np.zeros_like(group_label)
    share = params.validation
    if not given.any():
        share = params.validation / (1 - params.test)
        rest, test = _hold_out(rest, strata[rest], params.test, params.seed, still_to_fill=2)
        split[test] = "test"
    _, validation = _hold_out(rest, strata[rest], share, params.seed, still_to_fill=1)
    split[validation] = "validation"
    return split[member]


def split_within(
    units: np.ndarray, strata: np.ndarray, official_test: np.ndarray, params: "Split"
) -> np.ndarray:
    """Return the split of each sample, drawn at random within strata: each split holds its share.

    Strata too small to give every split a unit are drawn from together.

    Args:
        units: (n,), what is drawn whole (families of near duplicates).
        strata: (n,), within which is drawn (writer and class); a unit counts for its first sample's.
        official_test: (n,), bool, as for `split_by_group`.
        params: the shares of units to hold out, and the split's own seed.

    Raises:
        Refusal: there are too few units to give each split one.
    """
    _, first, member = np.unique(units, return_index=True, return_inverse=True)
    own = strata[first].astype(object)
    drawn = np.ones(len(own), dtype=bool)
    np.logical_and.at(drawn, member, ~official_test)
    names, counts = np.unique(own[drawn].astype(str), return_counts=True)
    least = np.ceil(1 / min(params.test, params.validation, 1 - params.test - params.validation))
    rare = {str(name) for name in strata} - set(names[counts >= least])
    pool = counts[counts < least].sum()
    # Too few together, they join the largest stratum: a lone one would undo the strata of all.
    home = "rare" if pool >= least or not len(names) else names[counts.argmax()]
    own = np.array([home if name in rare else name for name in own.astype(str)], dtype=object)
    return split_by_group(units, own[member].astype(str), official_test, params)


def straddlers(split: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return which samples to leave out so that no near-duplicate pair straddles two splits.

    Of such a pair the one that was to be learnt from goes: train before validation before test.

    Args:
        split: (n,), of each sample.
        pairs: (m, 2), the near-duplicate pairs.

    Returns:
        (n,), bool.
    """
    rank = np.select([split == name for name in SPLITS], [0, 1, 2])
    left, right = pairs[:, 0], pairs[:, 1]
    out = np.zeros(len(split), dtype=bool)
    out[left[rank[left] < rank[right]]] = True
    out[right[rank[right] < rank[left]]] = True
    return out


def families(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return for each of `count` samples the family that `pairs` tie it to, (count,) of integers."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels
