"""Official splits stay what they are; what the source does not divide is drawn by group."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.core.schema import Split
from stages.datasets.dataset import SPLITS
from stages.datasets.splits import HELD_OUT, split_by_group, split_stratified

RANK = {"": 0, "train": 0, "validation": 1, "test": 2}
SHARES = Split(test=0.3, validation=0.2, seed=0)
Samples = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def divided_groups(draw: st.DrawFn) -> Samples:
    """Return groups, labels and official splits; groups may straddle official splits."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    groups = random.integers(0, draw(st.integers(6, 30)), 60)
    names = np.array(draw(st.lists(st.sampled_from([*RANK]), min_size=1, max_size=4)))
    of_group = random.choice(names, groups.max() + 1)
    official = of_group[groups]
    straddling = random.random(60) < draw(st.sampled_from([0.0, 0.05]))
    official[straddling] = random.choice(names, straddling.sum())
    return groups.astype(str), random.integers(0, 3, 60), official


@settings(max_examples=100, deadline=None)
@given(divided_groups(), st.sampled_from([split_by_group, split_stratified]))
def test_a_group_keeps_the_last_of_its_official_splits_and_the_rest_is_drawn(
    samples: Samples, divide: Callable[..., np.ndarray]
) -> None:
    groups, labels, official = samples
    last = {name: max(official[groups == name], key=RANK.__getitem__) for name in np.unique(groups)}
    official_names = {name for name in last.values() if name in HELD_OUT}
    rest = sum(name not in HELD_OUT for name in last.values())
    assume(rest > 2 - len(official_names))
    split = divide(groups, labels, official, SHARES)
    assert set(split.tolist()) == set(SPLITS)
    for name in np.unique(groups):
        (of_group,) = set(split[groups == name].tolist())
        if last[name] in HELD_OUT:
            assert of_group == last[name]
        else:
            assert of_group not in official_names


@pytest.mark.parametrize(
    ("official", "counts"),
    [
        (["test"] * 20 + ["train"] * 40, {"test": 20, "validation": 8, "train": 32}),
        (["validation"] * 20 + ["train"] * 40, {"test": 12, "validation": 20, "train": 28}),
        (["train"] * 30 + ["validation"] * 20 + ["test"] * 10, None),
        ([""] * 30 + ["validation"] * 20 + ["test"] * 10, None),
        (["train"] * 60, {"test": 18, "validation": 12, "train": 30}),
    ],
)
def test_only_what_the_source_does_not_give_is_drawn(
    official: list[str], counts: dict[str, int] | None
) -> None:
    split = split_by_group(np.arange(60).astype(str), np.arange(60) % 2, np.array(official), SHARES)
    expected = counts or {"train": 30, "validation": 20, "test": 10}
    assert {name: int((split == name).sum()) for name in SPLITS} == expected


def test_official_held_out_data_alone_are_rejected() -> None:
    official = np.array(["test", "validation"] * 6)
    with pytest.raises(UserError, match="0 groups cannot fill 1 splits"):
        split_by_group(np.arange(12).astype(str), np.arange(12) % 2, official, SHARES)
