"""Tests, intervals and power for two methods on the same independent test samples."""

from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

from stages.core.progress import progress
from stages.evaluation.clustered import wilson_interval
from stages.evaluation.verdict import POWER

_DRAWS_AT_ONCE = 4_000_000  # counts of distinct values in memory


def proportion_interval(correct: int, count: int, confidence: float) -> tuple[float, float]:
    """Return the score interval (Wilson, 1927) of the share `correct` / `count`."""
    return wilson_interval(correct / count, count, -float(special.ndtri((1 - confidence) / 2)))


def difference_interval(
    new: tuple[float, int], old: tuple[float, int], alpha: float
) -> tuple[float, float]:
    """Return the interval of the difference of two independent shares, `new` minus `old`.

    It is the hybrid score interval (Newcombe, 1998, method 10), at the level 1 - `alpha`.

    Args:
        new: share and number of samples.
        old: the same.
        alpha: chance that the difference lies outside.
    """
    quantile = -float(special.ndtri(alpha / 2))
    difference = new[0] - old[0]
    (new_low, new_high), (old_low, old_high) = (
        wilson_interval(share, count, quantile) for share, count in (new, old)
    )
    below = np.hypot(new[0] - new_low, old_high - old[0])
    above = np.hypot(new_high - new[0], old[0] - old_low)
    return float(difference - below), float(difference + above)


def mcnemar_test(fixed: int, broken: int) -> float:
    """Return the two-sided p value of the exact McNemar test.

    Null hypothesis: a sample that only one of two methods gets right is equally likely to be either
    method's (McNemar, 1947; Dietterich, 1998, section 2.1; with the exact binomial distribution).

    Args:
        fixed: number of samples that only the new method gets right.
        broken: number of samples that only the old method gets right.
    """
    return float(min(1.0, 2 * special.bdtr(min(fixed, broken), fixed + broken, 0.5)))


def equivalence_test(fixed: float, broken: float, count: float, margin: float) -> float:
    """Return the p value of equivalence: the larger one of two one-sided tests.

    Null hypothesis: the accuracies differ by `margin` or more. It is the score test for paired
    proportions (Tango, 1998), which holds its level where few predictions differ or none: a bootstrap
    sees hardly any variance there.

    Args:
        fixed: number of samples that only the new method gets right, which may be fractional.
        broken: number of samples that only the old method gets right.
        count: number of samples.
        margin: above 0 and below 1.
    """
    scores = []
    for gain, new, old in ((margin, fixed, broken), (margin, broken, fixed)):
        # With this true gain, the most likely chance that a sample is broken solves a q^2 + b q + c = 0.
        a, b, c = 2 * count, (2 * count - new + old) * gain - new - old, -old * gain * (1 - gain)
        chance = (np.sqrt(b**2 - 4 * a * c) - b) / (2 * a)
        error = np.sqrt(count * (2 * chance + gain * (1 - gain)))
        scores.append((new - old - count * gain) / error)
    return float(special.ndtr(max(scores)))


def bootstrap_interval(
    values: np.ndarray, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`.

    For two methods on the same samples, pass the differences: resampling these resamples the pairs
    (Efron and Tibshirani, 1993, sections 8.3 and 13.3).

    Args:
        values: (n,).
        confidence: level of the interval.
        resamples: number of bootstrap samples.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    # A draw of n values with replacement is a multinomial draw of the counts of the distinct values:
    # the distribution of scipy.stats.bootstrap, without its array of (resamples, n).
    levels, counts = np.unique(values, return_counts=True)
    part = max(1, _DRAWS_AT_ONCE // len(levels))
    means = np.concatenate(
        [
            random.multinomial(len(values), counts / len(values), size=min(part, resamples - start))
            @ levels
            / len(values)
            for start in progress(range(0, resamples, part), "bootstrap")
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def power_of_mcnemar(gain: float, regressions: float, count: int, alpha: float) -> float:
    """Return the power of the exact McNemar test: the probability that it detects a true gain.

    The sum runs over the number of samples on which the methods differ.

    Args:
        gain: true difference in accuracy.
        regressions: share of samples that the new method breaks; it fixes gain + regressions.
        count: number of test samples.
        alpha: level of the two-sided test.
    """
    fixes = gain + regressions
    differing = min(1.0, fixes + regressions)
    low, high = _binomial_quantile(np.array([1e-10, 1 - 1e-10]), count, differing)
    numbers = np.arange(max(1, int(low)), int(high) + 1)
    at_most = _binomial_quantile(1 - alpha / 2, numbers, 0.5)  # fixes that are no evidence
    detected = special.bdtrc(at_most, numbers, fixes / differing)
    chances = special.bdtr(numbers, count, differing) - special.bdtr(numbers - 1, count, differing)
    return float((chances * detected).sum())


def _binomial_quantile(share: Any, count: Any, chance: float) -> np.ndarray:
    """Return the smallest number of successes of `count` trials that are not exceeded so often."""
    number = np.ceil(special.bdtrik(share, count, chance))
    smaller = np.maximum(number - 1, 0)
    quantile: np.ndarray = np.where(special.bdtr(smaller, count, chance) >= share, smaller, number)
    return quantile


@lru_cache(maxsize=10_000)
def smallest_detectable_gain(regressions: float, count: int, alpha: float) -> float:
    """Return the smallest true gain that a test set detects with 80% power; 1.0 if there is none.

    Power grows with the gain, so the first whole number of samples with enough power is searched for,
    from the one that `smallest_detectable_mean_gain` gives.

    Args:
        regressions: share of samples that the new method breaks.
        count: number of test samples.
        alpha: level of the two-sided McNemar test.
    """
    largest = max(1, int((1 - 2 * regressions) * count))
    low, high = 0, largest + 1  # too little power; enough, or more than there can be
    guess = round(count * smallest_detectable_mean_gain(regressions, np.array([count]), alpha))
    while high - low > 1:
        samples = guess if low < guess < high else (low + high) // 2
        if power_of_mcnemar(samples / count, regressions, count, alpha) >= POWER:
            high, guess = samples, samples - 2
        else:
            low, guess = samples, samples + 2
    return high / count if high <= largest else 1.0


def smallest_detectable_mean_gain(regressions: float, counts: np.ndarray, alpha: float) -> float:
    """Return the smallest true gain in mean recall that a test set detects with 80% power, at most 1.

    Normal approximation, for a model that gains g and breaks the share r in every class: the difference
    of paired samples has variance g + 2r - g^2, that of a class's recall this over its count, and the
    gain is detected if g is at least (z of 1 - alpha / 2 + z of 80%) standard errors. For one class it
    is the usual one of McNemar's test (Connor, 1987). It stands for macro F1 as well.

    Args:
        regressions: r, share of samples that the new method breaks.
        counts: test samples of each class that occurs.
        alpha: level of the two-sided test.
    """
    z = special.ndtri(1 - alpha / 2) + special.ndtri(POWER)
    # g^2 = a (g + 2r - g^2), with a = z^2 sum(1 / count) / classes^2
    a = float(z**2 * (1 / counts).sum() / len(counts) ** 2)
    gain = (a + np.sqrt(a**2 + 8 * a * (1 + a) * regressions)) / (2 * (1 + a))
    return min(1.0, float(gain))
