"""What is proposed from the sizes of the data alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.evaluation.significance import smallest_detectable_gain
from stages.kinds.plans import SplitSizes
from stages.kinds.proposal import (
    common_settings,
    detectable_gain,
    is_unbalanced,
    split_shares,
    split_sizes,
    training_length,
    worthwhile_gain,
)


@pytest.mark.parametrize(
    ("samples", "shares"),
    [
        (100, (0.25, 0.15)),
        (500, (0.2, 0.1)),
        (2000, (0.15, 0.1)),
        (20_000, (0.1, 0.05)),
        (10**6, (0.1, 0.05)),
    ],
)
def test_the_more_samples_the_smaller_the_held_out_share(
    samples: int, shares: tuple[float, float]
) -> None:
    assert split_shares(samples) == shares


@pytest.mark.parametrize(
    ("official", "sizes"),
    [
        ({}, SplitSizes(750, 100, 150)),
        ({"": 1000}, SplitSizes(750, 100, 150)),
        # Validation data are drawn from what is no test data: 10% of 800.
        ({"train": 800, "test": 200}, SplitSizes(720, 80, 200)),
        ({"train": 700, "validation": 100, "test": 200}, SplitSizes(700, 100, 200)),
    ],
)
def test_official_splits_keep_their_size(official: dict[str, int], sizes: SplitSizes) -> None:
    scale = 10
    scaled = {name: scale * count for name, count in official.items()}
    expected = SplitSizes(scale * sizes.train, scale * sizes.validation, scale * sizes.test)
    assert split_sizes(1000 * scale, scaled) == expected


@given(st.integers(3, 10**6))
def test_every_split_has_a_sample(samples: int) -> None:
    sizes = split_sizes(samples, {})
    assert min(sizes.train, sizes.validation, sizes.test) >= 1
    assert abs(sizes.train + sizes.validation + sizes.test - samples) <= 1


def test_the_worthwhile_gain_is_what_the_test_set_can_detect() -> None:
    assert detectable_gain(1000, 0.05) == smallest_detectable_gain(0.05, 1000, 0.05)
    assert worthwhile_gain(0.026) == 0.03
    assert worthwhile_gain(0.03) == 0.03
    assert worthwhile_gain(0.0001) == 0.01
    assert worthwhile_gain(0.6) == 0.1  # a smaller test set is underpowered, and it is said


@pytest.mark.parametrize(
    ("counts", "unbalanced"),
    [({"a": 40, "b": 160}, False), ({"a": 40, "b": 161}, True), ({"a": 900, "b": 40}, True)],
)
def test_the_metric_follows_from_the_balance(counts: dict[str, int], unbalanced: bool) -> None:
    assert is_unbalanced(counts) is unbalanced
    values, settings = common_settings(counts, split_sizes(sum(counts.values()), {}), {}, 0.01)
    assert values["metric"] == ("balanced_accuracy" if unbalanced else "accuracy")
    assert values["class_weights"] == ("balanced" if unbalanced else "null")
    keys = [setting.key for setting in settings]
    assert ("train.class_weights" in keys) is unbalanced


def test_a_test_set_too_small_for_the_gain_is_said() -> None:
    _, settings = common_settings({"a": 60, "b": 60}, split_sizes(120, {}), {"": 120}, 0.01)
    reasons = {setting.key: setting.reason for setting in settings}
    assert reasons["evaluate.worthwhile_gain"].endswith(", no smaller one")
    assert reasons["prepare.split"] == "120 samples: about 72 to train on, 18 and 30"


def test_official_data_are_named() -> None:
    official = {"train": 500, "test": 100}
    _, settings = common_settings({"a": 300, "b": 300}, split_sizes(600, official), official, 0.01)
    assert settings[0].reason.endswith(" and 100; official test data stay")
    official["validation"] = 50
    _, settings = common_settings({"a": 300, "b": 300}, split_sizes(600, official), official, 0.01)
    assert settings[0].reason.endswith("; official validation data stay; official test data stay")


def test_batches_and_epochs_follow_from_the_samples() -> None:
    assert training_length(640, (64, 32, 16), 300, (16, 60)) == (64, 30)
    assert training_length(320, (64, 32, 16), 300, (16, 60)) == (32, 30)
    assert training_length(20, (64, 32, 16), 300, (16, 60)) == (16, 60)
    assert training_length(64_000, (64, 32, 16), 300, (16, 60)) == (64, 16)
