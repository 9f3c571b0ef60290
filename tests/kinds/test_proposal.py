"""What is proposed from the sizes of the data alone."""

import pytest

from stages.evaluation.significance import smallest_detectable_gain
from stages.kinds.plans import SplitSizes
from stages.kinds.proposal import (
    common_settings,
    detectable_gain,
    is_unbalanced,
    training_length,
    worthwhile_gain,
)
from stages.kinds.split_proposal import propose_split, split_sizes


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
    values, settings = common_settings(counts, split_sizes(sum(counts.values()), {}), 0.01)
    assert values["metric"] == ("balanced_accuracy" if unbalanced else "accuracy")
    assert values["class_weights"] == ("balanced" if unbalanced else "null")
    keys = [setting.key for setting in settings]
    assert ("train.class_weights" in keys) is unbalanced


def test_a_test_set_too_small_for_the_gain_is_said() -> None:
    split = propose_split(120, {"": 120})
    assert split.setting.reason == "120 samples: about 72 to train on, 18 and 30"
    _, settings = common_settings({"a": 60, "b": 60}, split.sizes, 0.01)
    assert settings[-1].reason.endswith(", no smaller one")


def test_with_folds_the_gain_is_what_all_samples_can_detect() -> None:
    counts = {"a": 500, "b": 500}
    values, settings = common_settings(counts, SplitSizes(600, 200, 1000, folds=5), 0.05)
    assert values["worthwhile_gain"] == f"{worthwhile_gain(detectable_gain(1000, 0.05)):g}"
    reason = settings[-1].reason
    assert reason.startswith("about 1000 test samples, if groups hardly differ, detect a gain of ")


def test_batches_and_epochs_follow_from_the_samples() -> None:
    assert training_length(640, (64, 32, 16), 300, (16, 60)) == (64, 30)
    assert training_length(320, (64, 32, 16), 300, (16, 60)) == (32, 30)
    assert training_length(20, (64, 32, 16), 300, (16, 60)) == (16, 60)
    assert training_length(64_000, (64, 32, 16), 300, (16, 60)) == (64, 16)
