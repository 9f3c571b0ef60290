"""The difference in log loss: its interval agrees with scipy and with figures worked out by hand."""

import numpy as np
import pytest
import scipy.stats

from stages.core.schema import EvaluateClassifier
from stages.evaluation.loss_significance import compare_losses

PARAMS = EvaluateClassifier(
    confidence=0.95,
    resamples=10_000,
    seed=0,
    bins=10,
    worthwhile_gain=0.04,
    assumed_regressions=0.01,
)


def losses(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return losses of a baseline and of a model, which is right more confidently."""
    random = np.random.default_rng(0)
    baseline = random.exponential(0.6, count)
    return baseline, baseline * random.uniform(0.3, 1.1, count)


def test_the_interval_is_that_of_the_paired_bootstrap_of_scipy() -> None:
    baseline, model = losses(300)
    expected = scipy.stats.bootstrap(
        (baseline - model,),
        np.mean,
        n_resamples=9999,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    figures = compare_losses(baseline, model, PARAMS)
    error = (baseline - model).std() / np.sqrt(300)
    assert figures["log_loss_gain"] == pytest.approx((baseline - model).mean())
    assert (figures["log_loss_gain_low"], figures["log_loss_gain_high"]) == pytest.approx(
        tuple(expected), abs=0.15 * error
    )


def test_the_interval_of_four_groups_is_worked_out_from_their_sums() -> None:
    baseline, model = losses(100)
    groups = np.repeat([0, 1, 2, 3], [10, 20, 30, 40])
    difference = baseline - model
    sums, sizes = np.bincount(groups, difference), np.bincount(groups)
    without = (sums - difference.mean() * sizes) / (100 - sizes)  # jackknife
    error = np.sqrt(3 / 4 * (without**2).sum())
    reach = scipy.stats.t.ppf(0.975, 100**2 / (sizes**2).sum() - 1) * error
    assert compare_losses(baseline, model, PARAMS, groups) == {
        "log_loss_gain": pytest.approx(difference.mean()),
        "log_loss_gain_low": pytest.approx(difference.mean() - reach),
        "log_loss_gain_high": pytest.approx(difference.mean() + reach),
    }


def test_copies_in_groups_leave_the_interval_as_it_is() -> None:
    baseline, model = losses(200)
    copied = compare_losses(
        np.repeat(baseline, 3), np.repeat(model, 3), PARAMS, np.repeat(np.arange(200), 3)
    )
    assert copied == pytest.approx(compare_losses(baseline, model, PARAMS))


def test_many_samples_have_the_normal_interval() -> None:
    baseline, model = losses(20_000)
    difference = baseline - model
    figures = compare_losses(baseline, model, PARAMS)
    reach = 1.96 * difference.std() / np.sqrt(20_000)
    assert figures["log_loss_gain_high"] - figures["log_loss_gain"] == pytest.approx(
        reach, rel=1e-3
    )


def test_equal_losses_have_no_difference_and_one_group_no_interval() -> None:
    baseline, model = losses(50)
    assert set(compare_losses(model, model, PARAMS).values()) == {0.0}
    figures = compare_losses(baseline, model, PARAMS, ["a"] * 50)
    assert figures["log_loss_gain_high"] == -figures["log_loss_gain_low"] > 27  # nats
