"""Samples that come in groups: the sign-flip test, cluster-robust errors, the design effect, intervals.

Samples of one group (a writer, a patient, a family of near duplicates) resemble each other, so they say
less about new groups than as many independent samples would. Here the group is what counts: the
bootstrap draws groups, the test flips the signs of groups, and the degrees of freedom are those of the
groups. docs/statistics.md says which method is used where, and how well each holds its level.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft, stats

from stages.evaluation.verdict import smallest_p


def group_codes(groups: Sequence[Hashable] | np.ndarray | None) -> np.ndarray | None:
    """Return the number of each sample's group, (n,); None where no group has several samples.

    Args:
        groups: of each sample, (n,). A missing one (None or NaN) is a group of its own.
    """
    if groups is None:
        return None
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "iuSU":
        names, codes = np.unique(groups, return_inverse=True)
        return codes if len(names) < len(codes) else None
    numbers: dict[Hashable, int] = {}
    codes = np.fromiter(
        (
            numbers.setdefault(
                ("missing", index) if _is_missing(group) else ("group", group),
                len(numbers),
            )
            for index, group in enumerate(groups)
        ),
        np.int64,
    )
    return codes if len(numbers) < len(codes) else None


def _is_missing(group: Hashable) -> bool:
    return group is None or (isinstance(group, float) and bool(np.isnan(group)))


def sign_flip_test(sums: np.ndarray) -> float:
    """Return the exact two-sided p value of the sign-flip test over groups.

    Null hypothesis: the difference of each group is as likely to have the opposite sign (Fisher, 1935,
    section 21; Lehmann and Romano, 2005, section 15.2). For groups of one sample each it is the exact
    McNemar test. The distribution of the sum of all 2^groups flips follows from its characteristic
    function, the product of the cosines of the groups, so none has to be drawn.

    Args:
        sums: the sum of the differences of each group, (groups,), integers.
    """
    observed = abs(int(sums.sum()))
    if observed == 0:
        return 1.0
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    largest = int(sizes @ counts)
    length = fft.next_fast_len(2 * largest + 1, real=True)
    angles = 2 * np.pi / length * np.arange(length // 2 + 1)
    characteristic = np.ones(len(angles))
    for size, count in zip(sizes, counts, strict=True):
        characteristic *= np.cos(size * angles) ** count
    chances = fft.irfft(characteristic, length)[observed : largest + 1]
    return float(min(1.0, round(2 * max(0.0, chances.sum()), 12)))


@dataclass(frozen=True)
class Clustering:
    """How much an estimate varies between groups.

    Attributes:
        groups: how many there are.
        error: cluster-robust standard error of the estimate; infinite for one group.
        design_effect: its variance over that of as many independent samples (Kish, 1965, section 8.2).
    """

    groups: int
    error: float
    design_effect: float

    def quantile(self, tail: float) -> float:
        """Return the upper quantile of Student's t with a degree of freedom less than groups."""
        return float(stats.t.isf(tail, self.groups - 1)) if self.groups > 1 else float("inf")

    def t_interval(
        self, estimate: float, confidence: float, bounds: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the interval by the cluster-robust standard error, within `bounds`.

        Quantiles of t with a degree of freedom less than groups (Cameron and Miller, 2015, section
        VI.D; Miller, 2024).
        """
        if self.groups == 1:
            return bounds
        reach = self.quantile((1 - confidence) / 2) * self.error
        return max(bounds[0], estimate - reach), min(bounds[1], estimate + reach)

    def bootstrap_interval(
        self, estimate: float, resampled: np.ndarray, confidence: float, bounds: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the expanded percentile interval (Hesterberg, 2015) of a cluster bootstrap.

        The percentiles of a bootstrap of few groups lie too close together; levels further out make up
        for it. Where there are too few groups for the test (`groups_needed`), percentiles cannot hold
        the confidence however far out: none lies beyond the groups' own extremes. There it is
        `t_interval`.

        Args:
            estimate: of all groups.
            resampled: the estimates of the bootstrap samples, (resamples,).
            confidence: level of the interval.
            bounds: the smallest and the largest possible value.
        """
        if smallest_p(self.groups) >= 1 - confidence:
            return self.t_interval(estimate, confidence, bounds)
        widening = np.sqrt(self.groups / (self.groups - 1))
        tail = stats.norm.sf(widening * self.quantile((1 - confidence) / 2))
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)

    def effective_count(self, count: int) -> float:
        """Return how many independent samples say as much as `count` samples in these groups.

        A design effect below 1 is luck of few groups, so it counts as 1.
        """
        return count / max(1.0, self.design_effect)

    def detecting_count(self, count: int, alpha: float, power: float) -> float:
        """Return the effective count by which a test over so few groups detects a gain.

        A test with quantiles of t needs a gain of (t of 1 - alpha / 2 + t of the power) standard errors
        where one of independent samples needs as many of the normal distribution (Hayes and
        Moulton, 2017, chapter 7).
        """
        if self.groups == 1:
            return 0.0
        normal = stats.norm.isf(alpha / 2) + stats.norm.ppf(power)
        student = self.quantile(alpha / 2) + self.quantile(1 - power)
        return float(self.effective_count(count) * (normal / student) ** 2)


def clustering(of_groups: np.ndarray, of_samples: np.ndarray, counts: np.ndarray) -> Clustering:
    """Return the clustering of an estimate, from what each group and each sample adds to it.

    Args:
        of_groups: the influence of each group: by how much it moves the estimate, (groups,), sum 0.
        of_samples: that of each distinct sample, (m,).
        counts: how many such samples there are, (m,).
    """
    groups, count = len(of_groups), int(counts.sum())
    if groups == 1:
        return Clustering(1, float("inf"), float(count))
    variance = groups / (groups - 1) * float((of_groups**2).sum())
    independent = count / (count - 1) * float(counts @ of_samples**2)
    effect = variance / independent if independent > 0 else 1.0
    return Clustering(groups, float(np.sqrt(variance)), effect)


def wilson_interval(share: float, count: float, quantile: float) -> tuple[float, float]:
    """Return the score interval (Wilson, 1927) of a share of `count` samples, which may be fractional.

    With an effective count and a quantile of t it is an interval for samples in groups (Franco et al.,
    2019).

    Args:
        share: estimate.
        count: of independent samples.
        quantile: such as 1.96, in standard errors.
    """
    if np.isinf(quantile):
        return 0.0, 1.0
    square = quantile**2 / count
    centre = (share + square / 2) / (1 + square)
    reach = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return max(0.0, float(centre - reach)), min(1.0, float(centre + reach))
