"""Tests and intervals for two methods on the same test samples, and the verdict over several seeds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from stages.core.files import SMALLEST_FIGURE
from stages.core.progress import progress

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier

POWER = 0.8
_DRAWS_AT_ONCE = 4_000_000  # counts of distinct values in memory


def proportion_interval(correct: int, count: int, confidence: float) -> tuple[float, float]:
    """Return the score interval (Wilson, 1927) of the share `correct` / `count`."""
    low, high = stats.binomtest(correct, count).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def mcnemar_test(fixed: int, broken: int) -> float:
    """Return the two-sided p value of the exact McNemar test.

    Null hypothesis: a sample that only one of two methods gets right is equally likely to be either
    method's (McNemar, 1947; Dietterich, 1998, section 2.1; with the exact binomial distribution).

    Args:
        fixed: number of samples that only the new method gets right.
        broken: number of samples that only the old method gets right.
    """
    differing = fixed + broken
    return float(stats.binomtest(fixed, differing, 0.5).pvalue) if differing else 1.0


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
    low, high = stats.binom.ppf([1e-10, 1 - 1e-10], count, differing)
    numbers = np.arange(int(low), int(high) + 1)
    needed = stats.binom.isf(alpha / 2, numbers, 0.5) + 1
    detected = stats.binom.sf(needed - 1, numbers, fixes / differing)
    return float((stats.binom.pmf(numbers, count, differing) * detected).sum())


def smallest_detectable_gain(regressions: float, count: int, alpha: float) -> float:
    """Return the smallest true gain that a test set detects with 80% power; 1.0 if there is none.

    Power grows with the gain, so bisection over whole numbers of samples finds it.

    Args:
        regressions: share of samples that the new method breaks.
        count: number of test samples.
        alpha: level of the two-sided McNemar test.
    """
    low, high = 1, max(1, int((1 - 2 * regressions) * count))
    if power_of_mcnemar(high / count, regressions, count, alpha) < POWER:
        return 1.0
    while low < high:
        middle = (low + high) // 2
        if power_of_mcnemar(middle / count, regressions, count, alpha) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low / count


@dataclass(frozen=True)
class Improvement:
    """The comparison of a model with its baseline.

    Attributes:
        verdict: "better", "worse", "not distinguishable" or "underpowered".
        figures: the numbers behind the verdict, by their keys in metrics.json.
    """

    verdict: str
    figures: dict[str, Any]


def compare_to_baseline(
    baseline_correct: np.ndarray, seeds_correct: np.ndarray, params: "EvaluateClassifier"
) -> Improvement:
    """Return the verdict on the primary seed's model against the baseline.

    - better: the exact McNemar test rejects at level 1 - confidence, the paired bootstrap interval of
      the gain lies above 0, and the model of every seed gains;
    - worse: likewise, below 0;
    - underpowered: the test does not reject, and its power to detect a worthwhile gain is below 80%;
    - not distinguishable: otherwise.

    Args:
        baseline_correct: whether the baseline is correct, (n,), bool.
        seeds_correct: whether each seed's model is correct, (seeds, n), bool; the primary seed first.
        params: confidence, resamples, seed, worthwhile_gain, assumed_regressions.
    """
    primary, count = seeds_correct[0], len(baseline_correct)
    alpha = 1 - params.confidence
    fixed = int((primary & ~baseline_correct).sum())
    broken = int((~primary & baseline_correct).sum())
    change = primary.astype(float) - baseline_correct
    low, high = bootstrap_interval(change, params.confidence, params.resamples, params.seed)
    p = mcnemar_test(fixed, broken)
    gains = seeds_correct.mean(axis=1) - baseline_correct.mean()
    detectable = smallest_detectable_gain(params.assumed_regressions, count, alpha)
    return Improvement(
        decide(p, (low, high), gains, detectable, params),
        {
            "gain": float(change.mean()),
            "gain_low": low,
            "gain_high": high,
            "fixed": fixed,
            "broken": broken,
            "mcnemar_p": max(p, SMALLEST_FIGURE),  # the smallest stands for "at most"
            "smallest_detectable_gain": detectable,
            "power": POWER,
            **seed_figures(gains),
        },
    )


def decide(
    p: float,
    interval: tuple[float, float],
    gains: np.ndarray,
    detectable: float,
    params: "EvaluateClassifier",
) -> str:
    """Return the verdict, by the rule of `compare_to_baseline`.

    Args:
        p: of the test that the primary seed's model equals the baseline.
        interval: of its gain.
        gains: of each seed's model, (seeds,).
        detectable: the smallest detectable gain.
        params: confidence, worthwhile_gain.
    """
    (low, high), alpha = interval, 1 - params.confidence
    if p < alpha and low > 0 and gains.min() > 0:
        return "better"
    if p < alpha and high < 0 and gains.max() < 0:
        return "worse"
    if p >= alpha and detectable > params.worthwhile_gain:
        return "underpowered"
    return "not distinguishable"


def seed_figures(gains: np.ndarray) -> dict[str, Any]:
    """Return the number of seeds, and mean, extremes and standard deviation of their gains (seeds,)."""
    return {
        "seeds": len(gains),
        "seed_gain_mean": float(gains.mean()),
        "seed_gain_min": float(gains.min()),
        "seed_gain_max": float(gains.max()),
        "seed_gain_sd": float(gains.std(ddof=1)) if len(gains) > 1 else 0.0,
    }
