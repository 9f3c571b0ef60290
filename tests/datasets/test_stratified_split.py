"""The split within strata: each split has its share of every group and class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.schema import Split
from stages.datasets.dataset import SPLITS
from stages.datasets.splits import split_stratified

SHARES = Split(test=0.25, validation=0.2, seed=0)
UnitsAndStrata = tuple[np.ndarray, np.ndarray]


def undivided(units: np.ndarray) -> np.ndarray:
    return np.full(len(units), "", dtype="U10")


@st.composite
def units_and_strata(draw: st.DrawFn, min_units: int = 10) -> UnitsAndStrata:
    """Return the unit and the stratum of each sample; each stratum has `min_units` or more."""
    counts = draw(st.lists(st.integers(min_units, 40), min_size=1, max_size=6))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    strata = random.permutation(np.repeat(np.arange(len(counts)), counts))
    sizes = random.integers(1, 4, len(strata))
    unit_of = random.permutation(np.repeat(np.arange(len(strata)), sizes))
    return (
        np.array([f"cluster-{unit}" for unit in unit_of]),
        np.array([f"writer {stratum}" for stratum in strata[unit_of]]),
    )


def unit_count(units: np.ndarray, mask: np.ndarray) -> int:
    return len(np.unique(units[mask]))


@settings(max_examples=40, deadline=None)
@given(units_and_strata(), st.floats(0.1, 0.3), st.floats(0.1, 0.3), st.integers(0, 1000))
def test_each_split_has_its_share_of_every_stratum_to_within_one_unit(
    samples: UnitsAndStrata, test: float, validation: float, seed: int
) -> None:
    units, strata = samples
    params = Split(test=test, validation=validation, seed=seed)
    split = split_stratified(units, strata, undivided(units), params)
    rest = split != "test"
    for pool, name in ((np.ones_like(rest), "test"), (rest, "validation")):
        share = unit_count(units, split == name) / unit_count(units, pool)
        for stratum in np.unique(strata):
            expected = share * unit_count(units, pool & (strata == stratum))
            count = unit_count(units, (split == name) & (strata == stratum))
            assert abs(count - expected) < 1
            assert count


@settings(max_examples=40, deadline=None)
@given(units_and_strata(min_units=1), st.integers(0, 1000), st.data())
def test_no_unit_is_in_two_splits_even_with_samples_of_two_strata(
    samples: UnitsAndStrata, seed: int, data: st.DataObject
) -> None:
    units = np.concatenate([samples[0], ["extra 1", "extra 2", "extra 3"]])
    strata = data.draw(st.permutations([*samples[1], "writer 0", "writer 1", "writer 0"]))
    split = split_stratified(units, np.array(strata), undivided(units), SHARES)
    assert set(split.tolist()) == set(SPLITS)
    for unit in np.unique(units):
        assert len(set(split[units == unit].tolist())) == 1


@settings(max_examples=30, deadline=None)
@given(units_and_strata(), st.integers(0, 1000))
def test_official_test_data_are_the_whole_test_split(samples: UnitsAndStrata, seed: int) -> None:
    units, strata = samples
    official = np.random.default_rng(seed).random(len(units)) < 0.1
    official[0] = True
    split = split_stratified(units, strata, np.where(official, "test", ""), SHARES)
    assert set(units[split == "test"].tolist()) == set(units[official].tolist())
    assert set(split.tolist()) == set(SPLITS)


def test_strata_too_small_for_every_split_are_merged() -> None:
    small = [f"small {index}" for index in range(10) for _ in range(2)]
    strata = np.array([*["large"] * 40, *["medium"] * 20, *small])
    masks = [(strata == "large", 40), (strata == "medium", 20)]
    masks.append((np.char.startswith(strata, "small"), 20))
    for seed in range(5):
        params = Split(test=0.25, validation=0.2, seed=seed)
        units = np.arange(80).astype(str)
        split = split_stratified(units, strata, undivided(units), params)
        for mask, count in masks:
            assert (split[mask] == "test").sum() == count * 0.25
            assert (split[mask] == "validation").sum() == count * 0.2


@pytest.mark.parametrize("rare", [1, 2])
def test_a_rare_sample_does_not_change_the_shares_of_other_strata(rare: int) -> None:
    writers = np.repeat([f"writer {index}" for index in range(10)], 20)
    strata = np.array([*writers, *["rare"] * rare])
    units = np.arange(len(strata)).astype(str)
    split = split_stratified(units, strata, undivided(units), SHARES)
    for index in range(10):
        of_writer = split[strata == f"writer {index}"]
        assert abs((of_writer == "test").sum() - 5) <= 1
        assert abs((of_writer == "validation").sum() - 4) <= 1


def test_a_stratum_nearly_all_of_official_test_data_does_not_change_other_shares() -> None:
    strata = np.repeat([f"writer {index}" for index in range(10)], 20)
    official = np.where(np.arange(200) < 19, "test", "train")
    split = split_stratified(np.arange(200).astype(str), strata, official, SHARES)
    for index in range(1, 10):
        of_writer = split[strata == f"writer {index}"]
        assert abs((of_writer == "validation").sum() - 4) <= 1


@settings(max_examples=20, deadline=None)
@given(units_and_strata(), st.integers(0, 1000))
def test_the_seed_alone_determines_the_split(samples: UnitsAndStrata, seed: int) -> None:
    arguments = (*samples, undivided(samples[0]))
    split = split_stratified(*arguments, SHARES)
    np.testing.assert_array_equal(split, split_stratified(*arguments, SHARES))
    splits = [
        split_stratified(*arguments, Split(test=0.25, validation=0.2, seed=seed + step))
        for step in range(3)
    ]
    assert any((split != splits[0]).any() for split in splits)
