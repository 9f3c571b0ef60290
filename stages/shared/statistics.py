"""Is the gain real? Tests and intervals for two methods on the same test samples, over seeds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from stages.shared.files import SMALLEST

if TYPE_CHECKING:
    from stages.shared.schema import EvaluateClassifier

POWER = 0.8


def proportion_interval(right: int, count: int, confidence: float) -> tuple[float, float]:
    """Return the Wilson (1927) score interval of `right` out of `count`."""
    low, high = stats.binomtest(right, count).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def mcnemar(fixed: int, broken: int) -> float:
    """Return the two-sided p of the exact McNemar test.

    Under "no difference" a sample on which the two methods differ falls to either with chance one
    half (McNemar, 1947; Dietterich, 1998, section 2.1, with the exact binomial).

    Args:
        fixed: samples that only the new method gets right.
        broken: samples that only the old one gets right.
    """
    differing = fixed + broken
    return float(stats.binomtest(fixed, differing, 0.5).pvalue) if differing else 1.0


def bootstrap_interval(
    values: np.ndarray, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`, (n,).

    For two methods on the same samples, give the differences: resampling these resamples the
    pairs (Efron and Tibshirani, 1993, sections 8.3 and 13.3).
    """
    random = np.random.default_rng(seed)
    # Drawing n values with replacement is one multinomial draw of how often each level comes: the
    # same distribution as scipy.stats.bootstrap, without its table of (resamples, n).
    levels, counts = np.unique(values, return_counts=True)
    part = max(1, 4_000_000 // len(levels))
    means = np.concatenate(
        [
            random.multinomial(len(values), counts / len(values), size=min(part, resamples - start))
            @ levels
            / len(values)
            for start in range(0, resamples, part)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def power_to_show(gain: float, regressions: float, count: int, alpha: float) -> float:
    """Return the chance that the exact McNemar test shows a true gain.

    Enumerates how many samples differ, and of these how many the new method fixes.

    Args:
        gain: true difference in accuracy.
        regressions: share of samples that the new method breaks; it fixes gain + regressions.
        count: test samples.
        alpha: level of the two-sided test.
    """
    fixes = gain + regressions
    differing = min(1.0, fixes + regressions)
    low, high = stats.binom.ppf([1e-10, 1 - 1e-10], count, differing)
    numbers = np.arange(int(low), int(high) + 1)
    needed = stats.binom.isf(alpha / 2, numbers, 0.5) + 1
    shown = stats.binom.sf(needed - 1, numbers, fixes / differing)
    return float((stats.binom.pmf(numbers, count, differing) * shown).sum())


def smallest_gain(regressions: float, count: int, alpha: float) -> float:
    """Return the smallest true gain that this test set shows with 80% power (1.0 if none).

    Found among whole numbers of samples, by bisection: power grows with the gain.
    """
    low, high = 1, max(1, int((1 - 2 * regressions) * count))
    if power_to_show(high / count, regressions, count, alpha) < POWER:
        return 1.0
    while low < high:
        middle = (low + high) // 2
        if power_to_show(middle / count, regressions, count, alpha) >= POWER:
            high = middle
        else:
            low = middle + 1
    return low / count


@dataclass(frozen=True)
class Improvement:
    """What changed against the baseline, and whether that is real.

    Attributes:
        verdict: "better", "worse", "not distinguishable" or "test set too small".
        figures: all numbers that the verdict rests on.
    """

    verdict: str
    figures: dict[str, Any]


def improvement(
    baseline_right: np.ndarray, seeds_right: np.ndarray, params: "EvaluateClassifier"
) -> Improvement:
    """Return the verdict on the headline model (the first seed's) against the baseline.

    Better: the exact McNemar test rejects at 1 - confidence, the paired bootstrap interval lies
    above 0, and every seed gains. Worse: the same below 0. Otherwise not distinguishable; or, where
    even a worthwhile gain would be shown with less than 80% power, test set too small.

    Args:
        baseline_right: (n,), bool.
        seeds_right: (seeds, n), bool; the headline seed first.
        params: confidence, resamples, seed, worthwhile_gain, assumed_regressions.
    """
    headline, count = seeds_right[0], len(baseline_right)
    alpha = 1 - params.confidence
    fixed = int((headline & ~baseline_right).sum())
    broken = int((~headline & baseline_right).sum())
    change = headline.astype(float) - baseline_right
    low, high = bootstrap_interval(change, params.confidence, params.resamples, params.seed)
    p = mcnemar(fixed, broken)
    gains = seeds_right.mean(axis=1) - baseline_right.mean()
    detectable = smallest_gain(params.assumed_regressions, count, alpha)
    if p < alpha and low > 0 and gains.min() > 0:
        verdict = "better"
    elif p < alpha and high < 0 and gains.max() < 0:
        verdict = "worse"
    elif p >= alpha and detectable > params.worthwhile_gain:
        verdict = "test set too small"
    else:
        verdict = "not distinguishable"
    return Improvement(
        verdict,
        {
            "gain": float(change.mean()),
            "gain_low": low,
            "gain_high": high,
            "fixed": fixed,
            "broken": broken,
            "mcnemar_p": max(p, SMALLEST),  # no p is 0: this one stands for itself and all below
            "smallest_detectable_gain": detectable,
            "power": POWER,
            "seeds": len(gains),
            "seed_gain_mean": float(gains.mean()),
            "seed_gain_min": float(gains.min()),
            "seed_gain_max": float(gains.max()),
            "seed_gain_sd": float(gains.std(ddof=1)) if len(gains) > 1 else 0.0,
        },
    )
