"""No group is in two splits, no split is empty, and no near-duplicate pair crosses splits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.core.schema import Split
from stages.datasets.dataset import SPLITS
from stages.datasets.splits import cross_split_duplicates, split_by_group

RANK = {name: rank for rank, name in enumerate(SPLITS)}
Samples = tuple[np.ndarray, np.ndarray]


def shares(test: float = 0.3, validation: float = 0.15, seed: int = 0) -> Split:
    return Split(test=test, validation=validation, seed=seed)


def split_params() -> st.SearchStrategy[Split]:
    return st.builds(shares, st.floats(0.02, 0.3), st.floats(0.02, 0.3), st.integers(0, 1000))


@st.composite
def mixed_groups(draw: st.DrawFn, least: int = 3) -> Samples:
    """Return groups and labels where at least one group holds samples of two classes."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=least, max_size=25))
    sizes[0] += 1
    names = draw(st.permutations([f"writer-{index}" for index in range(len(sizes))]))
    groups = np.repeat(np.array(names), sizes)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    labels = random.integers(0, 3, len(groups))
    labels[0], labels[1] = 0, 1
    order = random.permutation(len(groups))
    return groups[order], labels[order]


@st.composite
def one_class_groups(draw: st.DrawFn) -> Samples:
    """Return groups of one class each, at least six groups a class."""
    counts = draw(st.lists(st.integers(6, 30), min_size=2, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    label_of = random.permutation(np.repeat(np.arange(len(counts)), counts))
    sizes = random.integers(1, draw(st.sampled_from([2, 4])), len(label_of))
    member = random.permutation(np.repeat(np.arange(len(label_of)), sizes))
    return np.array([f"patient-{index:03}" for index in member]), label_of[member]


def undivided(groups: np.ndarray) -> np.ndarray:
    return np.full(len(groups), "", dtype="U10")


def each_group_is_in_one_split(groups: np.ndarray, split: np.ndarray) -> bool:
    return all(len(set(split[groups == name].tolist())) == 1 for name in np.unique(groups))


@settings(max_examples=50, deadline=None)
@given(st.one_of(mixed_groups(), one_class_groups()), split_params())
def test_no_group_is_in_two_splits_and_no_split_is_empty(samples: Samples, params: Split) -> None:
    groups, labels = samples
    split = split_by_group(groups, labels, undivided(groups), params)
    assert len(split) == len(groups)
    assert each_group_is_in_one_split(groups, split)
    assert set(split.tolist()) == set(SPLITS)


@settings(max_examples=30, deadline=None)
@given(mixed_groups(least=4), split_params(), st.data())
def test_exactly_the_groups_with_official_test_data_are_test_data(
    samples: Samples, params: Split, data: st.DataObject
) -> None:
    groups, labels = samples
    names = np.unique(groups)
    test_groups = data.draw(
        st.lists(st.sampled_from(names.tolist()), min_size=1, max_size=len(names) - 2, unique=True)
    )
    official = undivided(groups)
    for name in test_groups:  # one sample is enough to mark its group
        official[data.draw(st.sampled_from(np.flatnonzero(groups == name).tolist()))] = "test"
    split = split_by_group(groups, labels, official, params)
    assert set(groups[split == "test"].tolist()) == set(test_groups)
    assert each_group_is_in_one_split(groups, split)
    assert set(split.tolist()) == set(SPLITS)


@settings(max_examples=30, deadline=None)
@given(st.one_of(mixed_groups(), one_class_groups()), split_params(), st.integers(0, 1000))
def test_the_order_of_the_samples_does_not_change_the_split_of_a_group(
    samples: Samples, params: Split, seed: int
) -> None:
    groups, labels = samples
    split = split_by_group(groups, labels, undivided(groups), params)
    order = np.random.default_rng(seed).permutation(len(groups))
    reordered = split_by_group(groups[order], labels[order], undivided(groups), params)
    np.testing.assert_array_equal(reordered, split[order])


@pytest.mark.parametrize("per_group", [1, 3])
def test_the_draw_depends_on_the_seed_only(per_group: int) -> None:
    groups = np.repeat(np.arange(40).astype(str), per_group)
    labels = np.arange(len(groups)) % 2
    first = split_by_group(groups, labels, undivided(groups), shares(seed=3))
    same = split_by_group(groups, labels, undivided(groups), shares(seed=3))
    different = split_by_group(groups, labels, undivided(groups), shares(seed=4))
    np.testing.assert_array_equal(first, same)
    assert (first != different).any()


def test_the_shares_are_shares_of_groups() -> None:
    sizes = np.arange(1, 21)
    groups = np.repeat([f"writer-{index:02}" for index in range(20)], sizes)
    labels = np.arange(len(groups)) % 2
    split = split_by_group(groups, labels, undivided(groups), shares(0.3, 0.15))
    counts = {name: len(np.unique(groups[split == name])) for name in SPLITS}
    assert counts == {"train": 11, "validation": 3, "test": 6}


def test_with_official_test_data_validation_is_a_share_of_the_remaining_groups() -> None:
    groups = np.repeat([f"writer-{index:02}" for index in range(30)], 2)
    labels = np.arange(60) % 2
    split = split_by_group(
        groups, labels, np.where(np.arange(60) < 20, "test", ""), shares(0.5, 0.15)
    )
    counts = {name: len(np.unique(groups[split == name])) for name in SPLITS}
    assert counts == {"train": 17, "validation": 3, "test": 10}


@pytest.mark.parametrize("per_group", [1, 2])
def test_a_draw_of_one_class_groups_is_stratified(per_group: int) -> None:
    label_of = np.repeat([0, 1, 2], [60, 30, 10])
    groups = np.repeat(np.arange(100).astype(str), per_group)
    labels = np.repeat(label_of, per_group)
    split = split_by_group(groups, labels, undivided(groups), shares(0.3, 0.2))
    for name, expected in {"test": [18, 9, 3], "validation": [12, 6, 2]}.items():
        assert np.bincount(labels[split == name]).tolist() == [per_group * n for n in expected]


@settings(max_examples=40, deadline=None)
@given(one_class_groups(), st.floats(0.2, 0.3), st.integers(0, 1000))
def test_each_class_has_its_share_of_test_groups_within_one(
    samples: Samples, test: float, seed: int
) -> None:
    groups, labels = samples
    split = split_by_group(groups, labels, undivided(groups), shares(test, 0.2, seed))
    share = len(np.unique(groups[split == "test"])) / len(np.unique(groups))
    for label in np.unique(labels):
        of_class = len(np.unique(groups[labels == label]))
        in_test = len(np.unique(groups[(labels == label) & (split == "test")]))
        assert abs(in_test - share * of_class) < 1
        assert in_test >= 1


def test_of_three_images_a_class_each_split_gets_one() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    for seed in range(5):
        split = split_by_group(
            np.arange(9).astype(str), labels, undivided(labels), shares(seed=seed)
        )
        for name in SPLITS:
            assert sorted(labels[split == name].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_groups_are_rejected(count: int) -> None:
    groups = np.repeat(np.arange(count).astype(str), 6)
    with pytest.raises(UserError, match=rf"{count} groups cannot fill 3 splits"):
        split_by_group(groups, np.arange(6 * count) % 2, undivided(groups), shares())


def test_one_group_beside_official_test_data_is_rejected() -> None:
    groups = np.repeat(["a", "b", "c"], 4)
    official = np.where(np.isin(groups, ["a", "b"]), "test", "train")
    with pytest.raises(UserError, match="1 groups cannot fill 2 splits"):
        split_by_group(groups, np.arange(12) % 2, official, shares())


@st.composite
def split_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Return the split of each sample, and pairs of samples."""
    split = draw(st.lists(st.sampled_from(SPLITS), min_size=2, max_size=20))
    index = st.integers(0, len(split) - 1)
    pairs = draw(st.lists(st.tuples(index, index).filter(lambda pair: pair[0] != pair[1])))
    return np.array(split), np.array(pairs, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=50, deadline=None)
@given(split_pairs())
def test_of_a_crossing_pair_the_sample_of_the_earlier_split_is_excluded(
    example: tuple[np.ndarray, np.ndarray],
) -> None:
    split, pairs = example
    rank = [RANK[name] for name in split.tolist()]
    crossing = [pair for pair in pairs.tolist() if rank[pair[0]] != rank[pair[1]]]
    expected = {min(pair, key=lambda index: rank[index]) for pair in crossing}
    excluded = cross_split_duplicates(split, pairs)
    assert excluded.shape == split.shape
    assert set(np.flatnonzero(excluded).tolist()) == expected
    assert not excluded[split == "test"].any()


def test_the_order_within_a_pair_does_not_matter() -> None:
    split = np.array(["train", "validation", "test", "train"])
    for pairs in ([[0, 1], [1, 2]], [[1, 0], [2, 1]]):
        assert cross_split_duplicates(split, np.array(pairs)).tolist() == [True, True, False, False]
    assert not cross_split_duplicates(split, np.array([[0, 3]])).any()
    assert not cross_split_duplicates(split, np.empty((0, 2), dtype=np.int64)).any()


@pytest.mark.parametrize("sizes", [(2, 2), (3, 2), (5, 1), (4, 4)])
def test_few_groups_of_one_class_each_can_be_split(sizes: tuple[int, int]) -> None:
    names = [f"{label}{number}" for label, count in enumerate(sizes) for number in range(count)]
    groups = np.repeat(names, 5)
    labels = np.array([int(name[0]) for name in groups])
    params = Split(test=0.3, validation=0.15, seed=0)
    split = split_by_group(groups, labels, undivided(groups), params)
    assert set(split) == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("count", "test", "validation"), [(3, 0.5, 0.25), (4, 0.7, 0.15), (14, 0.6, 0.38)]
)
def test_large_shares_leave_a_group_for_each_split(
    count: int, test: float, validation: float
) -> None:
    groups = np.repeat(np.arange(count).astype(str), 6)
    labels = np.tile([0, 1], 3 * count)
    params = Split(test=test, validation=validation, seed=0)
    split = split_by_group(groups, labels, undivided(groups), params)
    assert set(split) == {"train", "validation", "test"}
