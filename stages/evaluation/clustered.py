"""Samples that come in groups: the sign-flip test, cluster-robust errors, the design effect, intervals.

Samples of one group (a writer, a patient, a family of near duplicates) resemble each other, so they say
less about new groups than as many independent samples would. Here the group is what counts: the
bootstrap draws groups, the test flips the signs of groups, and the degrees of freedom are those of the
groups. docs/statistics.md says which method is used where, and how well each holds its level.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from stages.evaluation.verdict import smallest_p

_MOST_FLIPPED = 10  # groups for which the power of all flips is simulated
_DRAWS, _MOST_ERRORS, _PRECISION = 1000, 20.0, 0.002


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
    length = 1 << (2 * largest).bit_length()  # above 2 * largest; a power of two is fast
    angles = 2 * np.pi / length * np.arange(length // 2 + 1)
    characteristic = np.ones(len(angles))
    for size, count in zip(sizes, counts, strict=True):
        characteristic *= np.cos(size * angles) ** count
    chances = np.fft.irfft(characteristic, length)[observed : largest + 1]
    return float(min(1.0, round(2 * max(0.0, chances.sum()), 12)))


@dataclass(frozen=True)
class Clustering:
    """How much an estimate varies between groups.

    Attributes:
        sizes: number of samples of each group, (groups,).
        error: cluster-robust standard error of the estimate; infinite for one group.
        design_effect: its variance over that of as many independent samples (Kish, 1965, section 8.2).
    """

    sizes: np.ndarray
    error: float
    design_effect: float

    @property
    def groups(self) -> int:
        """Return the number of groups."""
        return len(self.sizes)

    @property
    def degrees(self) -> float:
        """Return the degrees of freedom of Student's t.

        That is the number of groups of one size that say as much, (sum of sizes)^2 / sum of squared
        sizes, less one (Carter, Schnepel and Steigerwald, 2017).
        """
        sizes = self.sizes.astype(float)
        return float(sizes.sum() ** 2 / (sizes**2).sum()) - 1

    def quantile(self, tail: float) -> float:
        """Return the upper quantile of Student's t with these degrees of freedom."""
        return -float(special.stdtrit(self.degrees, tail)) if self.groups > 1 else float("inf")

    def t_interval(
        self, estimate: float, confidence: float, bounds: tuple[float, float]
    ) -> tuple[float, float]:
        """Return the interval by the cluster-robust standard error and t, within `bounds`.

        Cameron and Miller (2015, section VI.D); Miller (2024) has normal quantiles.
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
        tail = special.ndtr(-widening * self.quantile((1 - confidence) / 2))
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)

    def effective_count(self, count: int) -> float:
        """Return how many independent samples say as much as `count` samples in these groups.

        A design effect below 1 is luck of few groups, so it counts as 1.
        """
        return count / max(1.0, self.design_effect)

    def detecting_count(self, count: int, alpha: float, power: float) -> float:
        """Return the effective count by which a test over so few groups detects a gain; 0 for none.

        A test of independent samples needs a gain of (z of 1 - alpha / 2 + z of the power) standard
        errors; one over groups needs as many with quantiles of t (Hayes and Moulton, 2017, chapter 7),
        and over a handful of groups what flips of so few signs need (`_errors_needed`).
        """
        if smallest_p(self.groups) >= alpha:
            return 0.0
        normal = special.ndtri(1 - alpha / 2) + special.ndtri(power)
        if self.groups <= _MOST_FLIPPED:
            needed = _errors_needed(tuple(sorted(self.sizes.tolist())), alpha, power)
        else:
            needed = self.quantile(alpha / 2) + self.quantile(1 - power)
        return float(self.effective_count(count) * (normal / needed) ** 2)


@lru_cache(maxsize=100)
def _errors_needed(sizes: tuple[int, ...], alpha: float, power: float) -> float:
    """Return the gain, in standard errors, that the sign-flip test over groups of such sizes detects.

    Simulated: normal sums of groups, whose mean is in proportion to the size and whose variance too, and
    all flips of their signs.
    """
    groups, shares = len(sizes), np.array(sizes) / sum(sizes)
    signs = 1 - 2 * (np.arange(2 ** (groups - 1))[:, None] >> np.arange(groups) & 1)
    noise = np.random.default_rng(0).standard_normal((_DRAWS, groups)) * np.sqrt(shares)
    of_noise, of_gain = noise @ signs.T, shares @ signs.T
    low, high = 0.0, _MOST_ERRORS
    while high - low > _PRECISION:
        errors = (low + high) / 2
        flipped = of_noise + errors * of_gain  # the first column has no flip
        p = (np.abs(flipped) >= np.abs(flipped[:, :1]) - _PRECISION**2).mean(axis=1)
        if ((p < alpha) & (flipped[:, 0] > 0)).mean() >= power:
            high = errors
        else:
            low = errors
    return high


def clustering(
    of_groups: np.ndarray, of_samples: np.ndarray, counts: np.ndarray, sizes: np.ndarray
) -> Clustering:
    """Return the clustering of an estimate, from what each group and each sample adds to it.

    The cluster-robust variance is that of the delete-a-group jackknife, CV3 (MacKinnon, Nielsen and
    Webb, 2023): with groups of different sizes the usual one is too small.

    Args:
        of_groups: by how much the estimate falls if a group is left out, (groups,).
        of_samples: the same of each distinct sample, (m,).
        counts: how many such samples there are, (m,).
        sizes: number of samples of each group, (groups,).
    """
    groups, count = len(of_groups), int(counts.sum())
    if groups == 1:
        return Clustering(sizes, float("inf"), float(count))
    variance = (groups - 1) / groups * float((of_groups**2).sum())
    independent = (count - 1) / count * float(counts @ of_samples**2)
    effect = variance / independent if independent > 0 else 1.0
    return Clustering(sizes, float(np.sqrt(variance)), effect)


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
