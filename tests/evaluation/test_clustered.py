"""Samples in groups: the sign-flip test, cluster-robust errors, intervals, and the verdict."""

from itertools import product
from typing import Literal

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import ROOT

from stages.core.files import read_csv
from stages.core.schema import EvaluateClassifier
from stages.evaluation.classification_metrics import metric_score
from stages.evaluation.clustered import (
    Clustering,
    clustering,
    group_codes,
    sign_flip_test,
    wilson_interval,
)
from stages.evaluation.metric_significance import (
    compare_predictions,
    equality_test,
    metric_interval,
)
from stages.evaluation.resampling import Units
from stages.evaluation.significance import (
    mcnemar_test,
    proportion_interval,
    smallest_detectable_gain,
)
from stages.evaluation.verdict import Improvement, groups_needed, smallest_p

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]


def params(
    metric: Metric = "accuracy", margin: float | None = None, resamples: int = 5000
) -> EvaluateClassifier:
    return EvaluateClassifier(
        metric=metric,
        confidence=0.95,
        resamples=resamples,
        seed=0,
        bins=10,
        worthwhile_gain=0.04,
        assumed_regressions=0.01,
        equivalence_margin=margin,
    )


def counted(
    groups: list[tuple[int, int, int]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, baseline, model and groups of (samples, fixed, broken) in each group.

    All labels are 1, predictions 0 or 1; samples that are neither fixed nor broken are right.
    """
    baseline, model, names = [], [], []
    for name, (count, fixed, broken) in enumerate(groups):
        same = count - fixed - broken
        baseline += [0] * fixed + [1] * (broken + same)
        model += [1] * fixed + [0] * broken + [1] * same
        names += [name] * count
    return np.ones(len(model), dtype=int), np.array(baseline), np.array(model), np.array(names)


def verdict_of(
    groups: list[tuple[int, int, int]], metric: Metric = "accuracy", margin: float | None = None
) -> Improvement:
    labels, baseline, model, names = counted(groups)
    return compare_predictions(labels, baseline, model[None], 2, params(metric, margin), names)


# Group codes


def test_groups_may_be_any_values() -> None:
    for groups in (["a", "b", "a"], np.array(["a", "b", "a"], object), [("x", 1), None, ("x", 1)]):
        codes = group_codes(groups)
        assert codes is not None
        assert (codes[0], codes[2]) == (codes[0], codes[0]) != (codes[1], codes[1])


def test_a_missing_group_is_one_of_its_own() -> None:
    assert group_codes([None, None, float("nan"), float("nan"), np.nan, np.nan]) is None


@pytest.mark.parametrize("groups", [None, ["a", "b", "c"], np.arange(3)])
def test_groups_of_one_sample_each_are_none(groups: list[str] | np.ndarray | None) -> None:
    assert group_codes(groups) is None


# The sign-flip test


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=11))
def test_the_sign_flip_test_agrees_with_all_flips(differences: list[int]) -> None:
    sums = np.array(differences)
    signs = np.array(list(product([-1, 1], repeat=len(sums))))
    expected = (np.abs(signs @ sums) >= abs(sums.sum())).mean()
    assert sign_flip_test(sums) == pytest.approx(expected, abs=1e-10)


def test_the_sign_flip_test_agrees_with_that_of_scipy() -> None:
    sums = np.array([5, 3, -1, 4, 0, 2, 6, -2, 1, 3])
    expected = scipy.stats.permutation_test(
        (sums,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(sums) == pytest.approx(expected.pvalue, abs=1e-10)


def test_fishers_pairs_of_plants_have_his_p_value() -> None:
    """Fisher (1935, section 21): Darwin's 15 pairs, in eighths of an inch; 863 of 32768 in one tail
    exceed and 1726 in both reach the observed sum, 5.27%."""
    pairs = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip_test(np.array(pairs)) == pytest.approx(1726 / 32768, abs=1e-10)


@pytest.mark.parametrize(("fixed", "broken"), [(0, 0), (5, 0), (12, 4), (40, 61), (900, 800)])
def test_of_single_samples_the_sign_flip_test_is_mcnemars(fixed: int, broken: int) -> None:
    sums = np.array([1] * fixed + [-1] * broken + [0] * 7)
    assert sign_flip_test(sums) == pytest.approx(mcnemar_test(fixed, broken), abs=1e-10)


def test_the_smallest_p_is_reached_where_all_groups_agree() -> None:
    for groups in (1, 4, 6, 14):
        assert sign_flip_test(np.arange(1, groups + 1)) == pytest.approx(smallest_p(groups))


@pytest.mark.parametrize(("alpha", "groups"), [(0.05, 6), (0.1, 5), (0.01, 8), (0.2, 4)])
def test_so_many_groups_are_needed(alpha: float, groups: int) -> None:
    assert groups_needed(alpha) == groups
    assert smallest_p(groups) < alpha <= smallest_p(groups - 1)


# Standard error, design effect, intervals


def test_the_standard_error_agrees_with_one_worked_out_by_hand() -> None:
    """Three groups of 4, 6 and 10 samples gain 2, 0 and 1: the gain is 3 / 20 = 0.15.

    Residuals of the groups: 2 - 0.6, 0 - 0.9, 1 - 1.5; without a group, 16, 14 and 10 samples are left.
    """
    figures = verdict_of([(4, 2, 0), (6, 0, 0), (10, 1, 0)]).figures
    error = np.sqrt(2 / 3 * ((1.4 / 16) ** 2 + (0.9 / 14) ** 2 + (0.5 / 10) ** 2))
    degrees = 20**2 / (4**2 + 6**2 + 10**2) - 1
    reach = scipy.stats.t.ppf(0.975, degrees) * error
    assert figures["degrees_of_freedom"] == pytest.approx(degrees)
    assert figures["gain"] == pytest.approx(0.15)
    assert figures["gain_t_low"] == pytest.approx(0.15 - reach)
    assert figures["gain_t_high"] == pytest.approx(0.15 + reach)
    # As independent samples: three gain 0.85 more than the mean, 17 gain 0.15 less.
    independent = 20 / 19 * (3 * 0.85**2 + 17 * 0.15**2) / 400
    assert figures["design_effect"] == pytest.approx(error**2 / independent)
    assert figures["effective_n"] == pytest.approx(20 / max(1, error**2 / independent))


def test_copies_of_samples_have_their_number_as_design_effect() -> None:
    """Each of 200 samples stands there five times: 1000 samples say as much as 200."""
    labels, baseline, model, _ = counted([(200, 30, 12)])
    copies = tuple(np.repeat(values, 5) for values in (labels, baseline, model))
    single = compare_predictions(labels, baseline, model[None], 2, params())
    groups = np.repeat(np.arange(200), 5)
    labels, baseline, model = copies
    grouped = compare_predictions(labels, baseline, model[None], 2, params(), groups)
    assert grouped.figures["design_effect"] == pytest.approx(5, rel=0.01)
    assert grouped.figures["effective_n"] == pytest.approx(200, rel=0.01)
    assert grouped.figures["p"] == pytest.approx(single.figures["p"], abs=1e-9)
    for end in ("gain", "gain_low", "gain_high"):
        assert grouped.figures[end] == pytest.approx(single.figures[end], abs=0.006)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_standard_error_of_every_metric_is_that_of_its_bootstrap(metric: Metric) -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), random.integers(5, 40, 60))
    labels = random.choice(3, len(groups), p=[0.6, 0.3, 0.1])
    wrong = random.random((2, len(groups))) < np.array([[0.3], [0.2]]) + 0.1 * (groups % 3 == 0)
    methods = np.where(wrong, (labels + random.integers(1, 3, len(groups))) % 3, labels)
    units = Units(metric, labels, list(methods), 3, groups)
    spread = clustering(
        np.repeat(units.influence(1) - units.influence(0), units.counts),
        np.array([1.0, -1.0]),
        np.array([1, 1]),
        np.bincount(groups),
    )
    scores = units.bootstrap(params(metric))
    assert spread.groups == 60
    assert spread.error == pytest.approx((scores[1] - scores[0]).std(), rel=0.08)
    for method in (0, 1):
        assert units.scores()[method] == pytest.approx(
            metric_score(metric, labels, methods[method], 3)
        )


def test_the_bootstrap_of_equal_groups_has_expanded_percentiles() -> None:
    """Of 12 groups as large, the mean of the groups' gains is resampled."""
    gains = [3, 1, 4, 1, 5, 0, 2, 6, 5, 3, 5, 0]
    figures = verdict_of([(20, gain, 0) for gain in gains]).figures
    tail = scipy.stats.norm.sf(np.sqrt(12 / 11) * scipy.stats.t.ppf(0.975, 11))
    means = np.random.default_rng(7).choice(np.array(gains) / 20, (50_000, 12)).mean(axis=1)
    low, high = np.quantile(means, [tail, 1 - tail])
    assert figures["gain_low"] == pytest.approx(low, abs=0.006)
    assert figures["gain_high"] == pytest.approx(high, abs=0.006)
    assert tail < 0.025


def test_too_few_groups_have_the_interval_of_the_standard_error() -> None:
    figures = verdict_of([(50, gain, 1) for gain in (3, 9, 6, 4)]).figures
    assert (figures["gain_low"], figures["gain_high"]) == (
        figures["gain_t_low"],
        figures["gain_t_high"],
    )


def test_one_group_has_no_interval() -> None:
    improvement = verdict_of([(100, 40, 0)])
    assert improvement.verdict == "too few groups"
    assert (improvement.figures["gain_low"], improvement.figures["gain_high"]) == (-1, 1)
    assert improvement.figures["smallest_detectable_gain"] == 1
    labels, _, model, names = counted([(100, 0, 20)])
    for metric in ("accuracy", "macro_f1"):
        assert metric_interval(metric, labels, model, 2, params(), names) == (0, 1)


@pytest.mark.parametrize(("share", "count"), [(0.0, 12), (0.25, 40), (0.8, 500), (1.0, 3)])
def test_wilsons_interval_is_that_of_whole_counts(share: float, count: int) -> None:
    quantile = scipy.stats.norm.ppf(0.975)
    assert wilson_interval(share, count, quantile) == pytest.approx(
        proportion_interval(round(share * count), count, 0.95), abs=1e-12
    )


def test_the_interval_of_a_score_is_wider_where_groups_differ() -> None:
    labels = np.ones(400, dtype=int)
    groups = np.repeat(np.arange(10), 40)
    alike, apart = np.tile([0, 1, 1, 1], 100), (groups >= 2).astype(int)  # 0.75 and 0.8 are right
    naive = proportion_interval(300, 400, 0.95)
    low, high = metric_interval("accuracy", labels, alike, 2, params(), groups)
    # No group differs from another, so only t stands for the normal quantile.
    assert high - low == pytest.approx((naive[1] - naive[0]) * 2.262 / 1.96, rel=0.01)
    low, high = metric_interval("accuracy", labels, apart, 2, params(), groups)
    assert low < 0.6
    assert high > 0.9


def test_power_counts_effective_samples_and_degrees_of_freedom() -> None:
    writers = np.full(14, 128)
    spread = Clustering(writers, 0.01, 2.0)
    student = scipy.stats.t.ppf(0.975, 13) + scipy.stats.t.ppf(0.8, 13)
    normal = scipy.stats.norm.ppf([0.975, 0.8]).sum()
    count = spread.detecting_count(1797, 0.05, 0.8)
    assert count == pytest.approx(1797 / 2 * (normal / student) ** 2)
    assert spread.effective_count(1797) == pytest.approx(1797 / 2)
    assert Clustering(writers, 0.01, 0.5).effective_count(1797) == 1797


def test_the_smallest_detectable_gain_is_that_of_the_effective_count() -> None:
    groups = [(60, 2 + 3 * (number % 3), number % 2) for number in range(14)]
    figures = verdict_of(groups).figures
    spread = Clustering(np.full(14, 60), 0.01, figures["design_effect"])
    effective = int(spread.detecting_count(840, 1 - 0.95, 0.8))
    assert figures["design_effect"] > 1
    assert figures["smallest_detectable_gain"] == smallest_detectable_gain(
        0.01, effective, 1 - 0.95
    )


def test_flips_of_six_signs_detect_a_gain_where_all_agree_four_times_in_five() -> None:
    """Six groups of one size are all above zero with the power, so each is with its sixth root."""
    needed = np.sqrt(6) * scipy.stats.norm.ppf(0.8 ** (1 / 6))
    spread = Clustering(np.full(6, 50), 0.01, 1.0)
    normal = scipy.stats.norm.ppf([0.975, 0.8]).sum()
    assert spread.detecting_count(300, 0.05, 0.8) == pytest.approx(
        300 * (normal / needed) ** 2, rel=0.05
    )
    assert Clustering(np.full(5, 50), 0.01, 1.0).detecting_count(250, 0.05, 0.8) == 0


def test_groups_of_different_sizes_have_fewer_degrees_of_freedom() -> None:
    assert Clustering(np.full(8, 30), 0.01, 1.0).degrees == pytest.approx(7)
    assert Clustering(np.array([300, 1, 1, 1]), 0.01, 1.0).degrees < 0.1


# The verdict


def test_groups_that_agree_are_better() -> None:
    improvement = verdict_of(
        [(40, 4, 1), (30, 3, 0), (50, 6, 1), (40, 2, 0), (40, 5, 1), (40, 3, 0)]
    )
    assert improvement.verdict == "better"
    assert improvement.figures["test"] == "sign flip over groups"
    assert improvement.figures["p"] == pytest.approx(2 / 64)
    assert improvement.figures["groups"] == 6


def test_groups_that_disagree_are_not_better_though_mcnemar_rejects() -> None:
    groups = [(60, 20, 0), (60, 22, 0), *([(60, 0, 2)] * 6)]
    labels, baseline, model, _ = counted(groups)
    assert compare_predictions(labels, baseline, model[None], 2, params()).verdict == "better"
    improvement = verdict_of(groups)
    assert improvement.verdict == "underpowered"
    assert improvement.figures["p"] > 0.1
    assert improvement.figures["gain_low"] < 0 < improvement.figures["gain_high"]


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_four_groups_are_too_few_whatever_they_show(metric: Metric) -> None:
    improvement = verdict_of([(100, 30, 0)] * 4, metric)
    assert improvement.verdict == "too few groups"
    assert improvement.figures["p"] == pytest.approx(0.125)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_groups_of_one_sample_have_the_figures_of_no_groups(metric: Metric) -> None:
    labels, baseline, model, _ = counted([(200, 30, 12)])
    labels[::3], groups = 0, [f"sample {index}" for index in range(200)]
    data = labels, baseline, model[None], 2, params(metric)
    assert compare_predictions(*data, groups) == compare_predictions(*data)
    assert metric_interval(metric, labels, model, 2, params(metric), groups) == metric_interval(
        metric, labels, model, 2, params(metric)
    )


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_the_order_of_samples_and_the_names_of_groups_change_nothing(metric: Metric) -> None:
    random = np.random.default_rng(0)
    labels, baseline, model = random.integers(0, 3, (3, 300))
    groups = random.integers(0, 25, 300)
    expected = compare_predictions(labels, baseline, model[None], 3, params(metric), groups)
    order = random.permutation(300)
    shuffled = compare_predictions(
        labels[order],
        baseline[order],
        model[None, order],
        3,
        params(metric),
        [f"writer {24 - group}" for group in groups[order]],
    )
    assert shuffled.verdict == expected.verdict
    assert shuffled.figures == pytest.approx(expected.figures)


def test_the_test_over_groups_agrees_with_every_exchange_of_groups() -> None:
    """Macro F1 with 5 groups: 32 exchanges."""
    random = np.random.default_rng(3)
    labels, baseline = random.integers(0, 3, (2, 60))
    model = np.where(random.random(60) < 0.4, labels, baseline)
    groups = np.repeat(np.arange(5), 12)

    def gain(exchanged: np.ndarray) -> float:
        first, second = np.where(exchanged, model, baseline), np.where(exchanged, baseline, model)
        return metric_score("macro_f1", labels, second, 3) - metric_score(
            "macro_f1", labels, first, 3
        )

    observed = abs(gain(np.zeros(60, bool)))
    flips = list(product([False, True], repeat=5))
    expected = np.mean([abs(gain(np.array(flip)[groups])) >= observed - 1e-12 for flip in flips])
    test, p = equality_test(labels, baseline, model, 3, params("macro_f1"), groups)
    assert test == "permutation over groups"
    assert p == pytest.approx(expected)


def test_many_groups_are_exchanged_at_random() -> None:
    """Of accuracy both tests are the same; 24 groups have too many exchanges to try each."""
    random = np.random.default_rng(1)
    data = counted([(15, int(fixed), 2) for fixed in random.integers(0, 7, 24)])
    labels, baseline, model, groups = data
    _, exact = equality_test(labels, baseline, model, 2, params(), groups)
    units = Units("accuracy", labels, [baseline, model], 2, groups)
    drawn = units.exchange_test(params(resamples=40_000))
    assert 0.001 < exact < 0.2
    assert drawn == pytest.approx(exact, abs=5 * np.sqrt(exact / 40_000))


def test_an_interval_within_the_margin_is_equivalent() -> None:
    groups = [(200, 1 + number % 2, 1) for number in range(20)]
    assert verdict_of(groups, margin=0.02).verdict == "equivalent"
    assert verdict_of(groups, margin=0.003).verdict == "better"
    assert verdict_of(groups).verdict == "better"


def test_a_small_real_gain_is_equivalent_rather_than_better() -> None:
    groups = [(400, 3, 0) for _ in range(20)]
    assert verdict_of(groups).verdict == "better"
    assert verdict_of(groups, margin=0.02).verdict == "equivalent"


def test_equal_predictions_are_equivalent_even_on_few_groups() -> None:
    assert verdict_of([(100, 0, 0)] * 4, margin=0.01).verdict == "equivalent"
    assert verdict_of([(100, 0, 0)], margin=0.01).verdict == "too few groups"


def test_a_large_gain_is_not_equivalent() -> None:
    groups = [(40, 4, 1)] * 8
    assert verdict_of(groups, margin=0.02).verdict == "better"


# Digits of writers


def test_four_writers_do_not_carry_the_gain_that_their_digits_seem_to() -> None:
    """527 digits of the writers 04, 06, 08 and 11, which a network and logistic regression recognise."""
    writers = [(130, 13, 0), (139, 8, 0), (128, 4, 1), (130, 9, 0)]
    labels, baseline, model, groups = counted(writers)
    naive = compare_predictions(labels, baseline, model[None], 2, params()).figures
    grouped = compare_predictions(labels, baseline, model[None], 2, params(), groups)
    assert naive["p"] < 0.001
    assert grouped.verdict == "too few groups"
    assert grouped.figures["p"] == pytest.approx(0.125)
    naive_width, width = (
        figures["gain_high"] - figures["gain_low"] for figures in (naive, grouped.figures)
    )
    assert width > 2 * naive_width


def test_the_image_pack_has_the_interval_worked_out_from_its_groups() -> None:
    table = read_csv(ROOT / "evidence/image/data/predictions.csv", dtype={"group": str})
    labels, baseline, model = (table[name].to_numpy() for name in ("label", "baseline", "seed_0"))
    figures = compare_predictions(
        labels, baseline, model[None], 10, params(), table["group"].to_numpy()
    ).figures
    change = (model == labels).astype(float) - (baseline == labels)
    parts = table.assign(change=change).groupby("group")["change"]
    count = parts.ngroups
    residuals = parts.sum() - change.mean() * parts.size()
    without = residuals / (len(table) - parts.size())
    error = np.sqrt((count - 1) / count * (without**2).sum())
    degrees = len(table) ** 2 / (parts.size() ** 2).sum() - 1
    reach = scipy.stats.t.ppf(0.975, degrees) * error
    assert figures["groups"] == count > 1
    assert figures["gain_t_low"] == pytest.approx(change.mean() - reach)
    assert figures["gain_t_high"] == pytest.approx(change.mean() + reach)
    flips = scipy.stats.permutation_test(
        (parts.sum().to_numpy(),), np.sum, permutation_type="samples", n_resamples=2**16
    )
    assert figures["p"] == pytest.approx(flips.pvalue, abs=1e-3)
