"""The statistics of the verdict agree with statsmodels, scipy, enumeration and simulation."""

from math import comb

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats import contingency_tables
from statsmodels.stats.proportion import proportion_confint

from stages.core.schema import EvaluateClassifier
from stages.evaluation.metric_significance import compare_predictions
from stages.evaluation.significance import (
    bootstrap_interval,
    equivalence_test,
    mcnemar_test,
    power_of_mcnemar,
    proportion_interval,
    smallest_detectable_gain,
)
from stages.evaluation.verdict import POWER, Improvement


def params(worthwhile_gain: float = 0.04, confidence: float = 0.95) -> EvaluateClassifier:
    return EvaluateClassifier(
        confidence=confidence,
        resamples=2000,
        seed=0,
        bins=10,
        worthwhile_gain=worthwhile_gain,
        assumed_regressions=0.01,
    )


def outcomes(count: int, correct: int, fixed: int, broken: int) -> tuple[np.ndarray, np.ndarray]:
    """Return whether a baseline (on the first `correct` of `count` samples) and a model are correct."""
    baseline = np.arange(count) < correct
    model = baseline.copy()
    model[:broken] = False
    model[correct : correct + fixed] = True
    return baseline, model


def compare_to_baseline(
    baseline: np.ndarray, seeds: np.ndarray, params: EvaluateClassifier
) -> Improvement:
    """Return the verdict by accuracy, from whether predictions are correct, (n,) and (seeds, n)."""
    labels = np.ones(len(baseline), dtype=int)
    return compare_predictions(labels, baseline.astype(int), seeds.astype(int), 2, params)


def normal_interval(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Return the normal interval of the mean, and the mean's standard error."""
    error = values.std() / np.sqrt(len(values))
    half_width = scipy.stats.norm.ppf((1 + confidence) / 2) * error
    return values.mean() - half_width, values.mean() + half_width, error


def test_mcnemar_agrees_with_the_exact_test_of_statsmodels() -> None:
    pairs = [(fixed, broken) for fixed in range(12) for broken in range(12)]
    for fixed, broken in [*pairs, (90, 60), (60, 90), (700, 600), (0, 40)]:
        table = [[31, fixed], [broken, 7]]
        expected = contingency_tables.mcnemar(table, exact=True).pvalue
        assert mcnemar_test(fixed, broken) == pytest.approx(expected, rel=1e-9), (fixed, broken)


def test_mcnemar_without_a_differing_sample_is_1() -> None:
    assert mcnemar_test(0, 0) == 1.0


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_proportion_interval_agrees_with_the_wilson_interval_of_statsmodels(
    confidence: float,
) -> None:
    for count in (1, 2, 9, 36, 527, 10_000):
        for correct in sorted({0, 1, count // 2, count - 1, count}):
            expected = proportion_confint(correct, count, alpha=1 - confidence, method="wilson")
            interval = proportion_interval(correct, count, confidence)
            assert interval == pytest.approx(expected, abs=1e-9), (correct, count)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("kind", ["differences", "skewed", "few"])
def test_the_bootstrap_interval_agrees_with_the_percentile_interval_of_scipy(
    kind: str, confidence: float
) -> None:
    random = np.random.default_rng(3)
    values = {
        "differences": random.choice([-1.0, 0.0, 1.0], 90, p=[0.05, 0.8, 0.15]),
        "skewed": random.lognormal(size=60),
        "few": np.array([0.0, 1.0, 4.0, 9.0, 9.0, 2.5]),
    }[kind]
    expected = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=9999,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    interval = bootstrap_interval(values, confidence, 9999, 5)
    # A quantile of 9999 draws is itself known to about 0.03 standard errors; scores come in steps.
    error = values.std() / np.sqrt(len(values))
    step = 1 / len(values) if kind == "differences" else 0.0
    assert interval == pytest.approx(tuple(expected), abs=0.15 * error + step)


def test_the_bootstrap_interval_of_many_differences_is_close_to_the_normal_one() -> None:
    values = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 20_000, p=[0.03, 0.9, 0.07])
    for confidence in (0.5, 0.9, 0.95):
        low, high, error = normal_interval(values, confidence)
        assert bootstrap_interval(values, confidence, 8000, 1) == pytest.approx(
            (low, high), abs=0.15 * error
        )


def test_the_bootstrap_interval_is_right_when_drawn_in_several_parts() -> None:
    values = np.random.default_rng(0).normal(2.0, 3.0, 2000)  # 2000 levels: 2000 draws a part
    low, high, error = normal_interval(values, 0.9)
    interval = bootstrap_interval(values, 0.9, 2500, 1)
    assert interval == pytest.approx((low, high), abs=0.25 * error)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.1])
def test_equal_values_have_an_interval_of_width_0(value: float) -> None:
    low, high = bootstrap_interval(np.full(37, value), 0.95, 1000, 0)
    assert low == high == pytest.approx(value, abs=1e-12)


def test_the_seed_determines_the_bootstrap_draws() -> None:
    values = np.random.default_rng(0).normal(size=50)
    first = bootstrap_interval(values, 0.95, 1000, 7)
    assert bootstrap_interval(values, 0.95, 1000, 7) == first
    assert bootstrap_interval(values, 0.95, 1000, 8) != first


def test_the_order_of_the_samples_does_not_change_the_bootstrap_interval() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_interval(values[::-1], 0.95, 1000, 7) == bootstrap_interval(
        values, 0.95, 1000, 7
    )


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize(
    ("gain", "regressions"), [(0.3, 0.1), (0.5, 0.0), (0.2, 0.3), (0.8, 0.1), (1.0, 0.0)]
)
def test_power_agrees_with_enumerating_every_outcome(
    gain: float, regressions: float, alpha: float
) -> None:
    fixes = gain + regressions
    same = max(0.0, 1 - fixes - regressions)
    for count in (1, 4, 6, 9, 13):
        expected = sum(
            comb(count, fixed)
            * comb(count - fixed, broken)
            * fixes**fixed
            * regressions**broken
            * same ** (count - fixed - broken)
            for fixed in range(count + 1)
            for broken in range(count - fixed + 1)
            if fixed > broken and mcnemar_test(fixed, broken) < alpha
        )
        power = power_of_mcnemar(gain, regressions, count, alpha)
        assert power == pytest.approx(expected, abs=1e-8), count


@pytest.mark.parametrize(
    ("gain", "regressions", "count"), [(0.05, 0.03, 250), (0.02, 0.05, 900), (0.03, 0.01, 360)]
)
def test_power_agrees_with_simulated_test_sets(gain: float, regressions: float, count: int) -> None:
    draws = 20_000
    shares = [gain + regressions, regressions, 1 - gain - 2 * regressions]
    fixed, broken, _ = np.random.default_rng(0).multinomial(count, shares, size=draws).T
    tail = scipy.stats.binom.sf(fixed - 1, fixed + broken, 0.5)
    simulated = ((2 * tail < 0.05) & (fixed > broken)).mean()
    assert power_of_mcnemar(gain, regressions, count, 0.05) == pytest.approx(
        simulated, abs=4 * np.sqrt(0.25 / draws)
    )


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(5, 2000),
    regressions=st.floats(0, 0.2),
    shares=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
)
def test_power_grows_with_the_gain(
    count: int, regressions: float, shares: tuple[float, float]
) -> None:
    small, large = sorted(share * (1 - 2 * regressions) for share in shares)
    weaker = power_of_mcnemar(small, regressions, count, 0.05)
    assert 0 <= weaker <= power_of_mcnemar(large, regressions, count, 0.05) + 1e-8


@pytest.mark.parametrize(
    ("count", "regressions", "points"),
    [(360, 0.01, 3.6), (1797, 0.01, 1.2), (1066, 0.05, 3.2), (10_000, 0.02, 0.6)],
)
def test_the_smallest_detectable_gain_is_the_published_one(
    count: int, regressions: float, points: float
) -> None:
    assert round(100 * smallest_detectable_gain(regressions, count, 0.05), 1) == points


def test_872_sentences_with_3_percent_regressions_detect_just_under_3_points() -> None:
    assert 0.029 < smallest_detectable_gain(0.03, 872, 0.05) < 0.03


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(12, 3000),
    regressions=st.floats(0, 0.08),
    alpha=st.sampled_from([0.01, 0.05, 0.2]),
)
def test_one_sample_less_than_the_smallest_gain_is_not_detectable(
    count: int, regressions: float, alpha: float
) -> None:
    gain = smallest_detectable_gain(regressions, count, alpha)
    if gain == 1.0:
        most = int((1 - 2 * regressions) * count) / count
        assert power_of_mcnemar(most, regressions, count, alpha) < POWER
        return
    assert gain * count == pytest.approx(round(gain * count))
    assert power_of_mcnemar(gain, regressions, count, alpha) >= POWER
    less = gain - 1 / count
    assert less < 1e-12 or power_of_mcnemar(less, regressions, count, alpha) < POWER


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_samples_can_detect_no_gain(count: int) -> None:
    assert smallest_detectable_gain(0.01, count, 0.05) == 1.0


def test_a_significant_gain_of_every_seed_is_better() -> None:
    baseline, model = outcomes(400, correct=300, fixed=40, broken=5)
    _, second = outcomes(400, correct=300, fixed=1, broken=0)
    assert compare_to_baseline(baseline, np.stack([model, second]), params()).verdict == "better"


def test_a_significant_loss_of_every_seed_is_worse() -> None:
    baseline, model = outcomes(400, correct=300, fixed=5, broken=40)
    _, second = outcomes(400, correct=300, fixed=0, broken=1)
    assert compare_to_baseline(baseline, np.stack([model, second]), params()).verdict == "worse"


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (8, 7), (7, 8)])
def test_a_small_change_on_a_large_test_set_is_not_distinguishable(fixed: int, broken: int) -> None:
    baseline, model = outcomes(1797, correct=1700, fixed=fixed, broken=broken)
    assert compare_to_baseline(baseline, model[None], params()).verdict == "not distinguishable"


def test_a_test_set_that_cannot_detect_a_worthwhile_gain_is_underpowered() -> None:
    baseline, model = outcomes(60, correct=40, fixed=3, broken=2)
    assert compare_to_baseline(baseline, model[None], params()).verdict == "underpowered"


def test_a_test_set_too_small_for_a_worthwhile_gain_still_detects_a_large_one() -> None:
    baseline, model = outcomes(60, correct=40, fixed=15, broken=1)
    assert compare_to_baseline(baseline, model[None], params()).verdict == "better"


@pytest.mark.parametrize(("fixed", "broken"), [(0, 1), (2, 2)])
@pytest.mark.parametrize("index", [1, 2])
def test_one_seed_without_a_gain_rules_out_better(index: int, fixed: int, broken: int) -> None:
    baseline, model = outcomes(400, correct=300, fixed=40, broken=5)
    seeds = np.stack([model, model, model])
    seeds[index] = outcomes(400, 300, fixed, broken)[1]
    assert compare_to_baseline(baseline, seeds, params()).verdict == "not distinguishable"
    # The test rejects, so the test set is large enough; the seeds disagree.
    assert compare_to_baseline(baseline, seeds, params(0.001)).verdict == "not distinguishable"


def test_one_seed_without_a_loss_rules_out_worse() -> None:
    baseline, model = outcomes(400, correct=300, fixed=5, broken=40)
    improvement = compare_to_baseline(baseline, np.stack([model, baseline]), params())
    assert improvement.verdict == "not distinguishable"


def test_an_interval_above_zero_is_not_enough_for_better() -> None:
    baseline, model = outcomes(400, correct=300, fixed=5, broken=0)
    improvement = compare_to_baseline(baseline, model[None], params())
    assert improvement.figures["gain_low"] > 0
    assert improvement.figures["p"] == pytest.approx(1 / 16)
    assert improvement.verdict == "not distinguishable"


def test_the_verdict_is_on_the_primary_seed_and_not_on_the_best_one() -> None:
    baseline, model = outcomes(400, correct=300, fixed=40, broken=5)
    _, slight = outcomes(400, correct=300, fixed=2, broken=1)
    assert compare_to_baseline(baseline, np.stack([model, slight]), params()).verdict == "better"
    improvement = compare_to_baseline(baseline, np.stack([slight, model]), params())
    assert improvement.verdict == "not distinguishable"
    assert (improvement.figures["fixed"], improvement.figures["broken"]) == (2, 1)


def test_the_figures_agree_with_those_worked_out_by_hand() -> None:
    baseline, first = outcomes(10, correct=6, fixed=3, broken=1)  # 6 right, then 8
    _, second = outcomes(10, correct=6, fixed=1, broken=0)  # 7
    _, third = outcomes(10, correct=6, fixed=4, broken=1)  # 9
    figures = compare_to_baseline(baseline, np.stack([first, second, third]), params()).figures
    low, high = bootstrap_interval(np.array([-1.0] + [0.0] * 6 + [1.0] * 3), 0.95, 2000, 0)
    assert (figures["gain_low"], figures["gain_high"]) == (low, high)
    assert figures["gain"] == pytest.approx(0.2)
    assert (figures["fixed"], figures["broken"], figures["seeds"]) == (3, 1, 3)
    assert figures["p"] == pytest.approx(10 / 16)  # twice (1 + 4) of 16
    assert figures["seed_gain_mean"] == pytest.approx(0.2)
    assert figures["seed_gain_min"] == pytest.approx(0.1)
    assert figures["seed_gain_max"] == pytest.approx(0.3)
    assert figures["seed_gain_sd"] == pytest.approx(0.1)
    assert figures["smallest_detectable_gain"] == pytest.approx(
        smallest_detectable_gain(0.01, 10, 0.05)
    )


def test_a_single_seed_has_no_spread() -> None:
    baseline, model = outcomes(10, correct=6, fixed=3, broken=1)
    figures = compare_to_baseline(baseline, model[None], params()).figures
    assert figures["seed_gain_sd"] == 0.0
    assert figures["seed_gain_min"] == figures["seed_gain_max"] == pytest.approx(0.2)


def test_so_many_samples_without_a_difference_are_needed_for_equivalence() -> None:
    """Where nothing differs the score interval ends at z^2 / (n + z^2): Tango, 1998."""
    square = scipy.stats.norm.ppf(0.975) ** 2
    for margin, count in ((0.01, 381), (0.02, 189), (0.05, 73)):
        assert count == int(np.ceil(square * (1 - margin) / margin))
        assert (
            equivalence_test(0, 0, count, margin)
            < 0.025
            < equivalence_test(0, 0, count - 1, margin)
        )
    nothing, model = outcomes(20, 20, 0, 0)
    labels = np.zeros(20, dtype=int)
    small = params().model_copy(update={"equivalence_margin": 0.05})
    result = compare_predictions(labels, 1 - nothing, 1 - model[None], 2, small)
    assert result.figures["gain_low"] == result.figures["gain_high"] == 0.0
    assert result.verdict != "equivalent"


@pytest.mark.parametrize(("count", "margin"), [(30, 0.1), (60, 0.05), (120, 0.05)])
@pytest.mark.parametrize("fixes", [0.0, 0.02, 0.1])
def test_equivalence_holds_its_level_at_the_margin(count: int, margin: float, fixes: float) -> None:
    """The level by enumeration, where the true difference is the margin."""
    wrong = 0.0
    trials = scipy.stats.multinomial(count, [fixes, fixes + margin, 1 - 2 * fixes - margin])
    for fixed in range(count + 1):
        for broken in range(count + 1 - fixed):
            if equivalence_test(fixed, broken, count, margin) < 0.025:
                wrong += trials.pmf([fixed, broken, count - fixed - broken])
    assert wrong < 0.035  # the test is asymptotic
    opposite = equivalence_test(3, 1, count, margin)
    assert opposite == equivalence_test(1, 3, count, margin)
