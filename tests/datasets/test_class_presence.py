"""Each class with enough groups is in each split, however rare it is and whatever other classes do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.schema import Split
from stages.datasets.dataset import SPLITS
from stages.datasets.splits import split_by_group, split_stratified

SIZES = st.lists(st.one_of(st.integers(1, 4), st.integers(3, 200)), min_size=2, max_size=8)
SHARES = st.builds(
    lambda test, validation, seed: Split(test=test, validation=validation, seed=seed),
    st.floats(0.02, 0.4),
    st.floats(0.02, 0.4),
    st.integers(0, 1000),
)


def classes_in(labels: np.ndarray, split: np.ndarray) -> dict[str, set[int]]:
    return {name: set(labels[split == name].tolist()) for name in SPLITS}


@settings(max_examples=150, deadline=None)
@given(SIZES.filter(lambda sizes: sum(sizes) >= 3), SHARES)
def test_a_class_with_three_groups_is_in_every_split(sizes: list[int], params: Split) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.arange(len(labels)).astype(str)
    split = split_by_group(groups, labels, np.full(len(labels), ""), params)
    present = classes_in(labels, split)
    for label, size in enumerate(sizes):
        if size >= 3:
            assert all(label in present[name] for name in SPLITS)
    assert all(present[name] for name in SPLITS)


@settings(max_examples=80, deadline=None)
@given(SIZES, SHARES, st.sampled_from(["test", "validation"]))
def test_beside_official_data_two_groups_are_enough(
    sizes: list[int], params: Split, official_name: str
) -> None:
    labels = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), [0] * 5])
    official = np.array(["train"] * sum(sizes) + [official_name] * 5)
    split = split_by_group(np.arange(len(labels)).astype(str), labels, official, params)
    present = classes_in(labels[official == "train"], split[official == "train"])
    (drawn,) = {"test", "validation"} - {official_name}
    for label, size in enumerate(sizes):
        assert size < 2 or label in present["train"] & present[drawn]
    assert not present[official_name]


@settings(max_examples=80, deadline=None)
@given(SIZES.filter(lambda sizes: sum(sizes) >= 20), SHARES, st.data())
def test_a_few_groups_with_two_classes_do_not_end_the_stratification(
    sizes: list[int], params: Split, data: st.DataObject
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.arange(len(labels))
    for _ in range(data.draw(st.integers(1, len(labels) // 20))):
        first, second = data.draw(st.tuples(*[st.integers(0, len(labels) - 1)] * 2))
        groups[groups == groups[first]] = groups[second]
    split = split_by_group(groups.astype(str), labels, np.full(len(labels), ""), params)
    present = classes_in(labels, split)
    for label in range(len(sizes)):
        alone = [g for g in np.unique(groups) if set(labels[groups == g]) == {label}]
        if len(alone) >= 4:
            assert all(label in present[name] for name in SPLITS)


@pytest.mark.parametrize("seed", range(5))
def test_one_pair_across_classes_leaves_each_class_its_share(seed: int) -> None:
    labels = np.repeat([0, 1, 2], [900, 60, 40])
    groups = np.arange(1000)
    groups[0] = groups[999]  # a near-duplicate pair of classes 0 and 2
    params = Split(test=0.3, validation=0.2, seed=seed)
    split = split_by_group(groups.astype(str), labels, np.full(1000, ""), params)
    for name, share in {"test": 0.3, "validation": 0.2}.items():
        counts = np.bincount(labels[split == name], minlength=3)
        assert np.abs(counts - share * np.array([900, 60, 40])).max() <= 2


@pytest.mark.parametrize("seed", range(5))
def test_one_rare_class_leaves_the_others_their_shares(seed: int) -> None:
    labels = np.repeat([0, 1, 2], [300, 100, 2])
    params = Split(test=0.25, validation=0.25, seed=seed)
    split = split_by_group(np.arange(402).astype(str), labels, np.full(402, ""), params)
    for name in ("test", "validation"):
        counts = np.bincount(labels[split == name], minlength=3)
        assert np.abs(counts[:2] - [75, 25]).max() <= 1
    assert sorted(split[labels == 2].tolist()) == ["test", "train"]


def test_a_class_of_one_group_is_training_data() -> None:
    labels = np.repeat([0, 1], [30, 1])
    for seed in range(10):
        params = Split(test=0.4, validation=0.3, seed=seed)
        split = split_by_group(np.arange(31).astype(str), labels, np.full(31, ""), params)
        assert split[30] == "train"


def test_rare_classes_of_writers_are_spread_though_each_writer_has_several_classes() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    labels = random.integers(0, 3, 600)
    for writer in (5, 17, 31, 44):  # the only ones with class 3
        labels[10 * writer] = 3
    for seed in range(20):
        params = Split(test=0.1, validation=0.1, seed=seed)
        split = split_by_group(groups.astype(str), labels, np.full(600, ""), params)
        assert all({0, 1, 2, 3} == present for present in classes_in(labels, split).values())
        assert all(len(set(split[groups == writer])) == 1 for writer in range(60))


def test_many_groups_of_many_classes_are_split_quickly() -> None:
    labels = np.random.default_rng(0).integers(0, 200, 300_000)
    labels[:4] = 200
    groups = np.arange(300_000)
    split = split_stratified(
        groups, labels, np.full(300_000, ""), Split(test=0.1, validation=0.1, seed=0)
    )
    assert {name: round((split == name).mean(), 2) for name in SPLITS} == {
        "train": 0.8, "validation": 0.1, "test": 0.1,
    }  # fmt: skip
