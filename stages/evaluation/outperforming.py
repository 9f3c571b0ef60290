"""The probability that a model outperforms another over further splits and training seeds, P(A > B).

Bouthillier et al. (2021, "Accounting for variance in machine learning benchmarks", section 5): train both
in each of several repeats in which everything random differs, and count. The model counts as better if the
interval of P(A > B) lies above 0.5, and the improvement as meaningful if the interval also reaches above
gamma = 0.75.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stages.evaluation.clustered import wilson_interval

GAMMA = 0.75


@dataclass(frozen=True)
class Outperforming:
    """P(A > B) over repeats, with its interval.

    Attributes:
        share: of the repeats in which A beats B; ties count half.
        low, high: ends of the score interval (Wilson, 1927).
        repeats: how many there are.
    """

    share: float
    low: float
    high: float
    repeats: int

    @property
    def conclusion(self) -> str:
        """Return what follows from the interval, by the rule of Bouthillier et al. (2021)."""
        if self.low <= 0.5:  # noqa: PLR2004 (a coin's probability)
            return "not distinguishable from a coin toss"
        return "better, and meaningfully so" if self.high > GAMMA else "better, but not by much"


def probability_of_outperforming(gains: Sequence[float], confidence: float) -> Outperforming:
    """Return the probability that A beats B, from the gain of A over B in each repeat.

    The score interval takes the repeats as independent. Unlike the bootstrap's it is no point
    where A beats B in all of the few repeats.

    Args:
        gains: of each repeat, at least one.
        confidence: level of the interval.
    """
    from scipy.stats import norm

    count = len(gains)
    share = sum((gain > 0) + (gain == 0) / 2 for gain in gains) / count
    low, high = wilson_interval(share, count, float(norm.ppf((1 + confidence) / 2)))
    return Outperforming(share, low, high, count)


def recommended_repeats(alpha: float = 0.05, beta: float = 0.05) -> int:
    """Return the repeats that detect P(A > B) = gamma: 29 at the usual rates of error (Noether, 1987).

    Args:
        alpha: probability that a coin toss counts as better (one-sided).
        beta: probability that gamma does not.
    """
    from scipy.stats import norm

    z = float(norm.ppf(1 - alpha) + norm.ppf(1 - beta))
    return math.ceil((z / (math.sqrt(6) * (GAMMA - 0.5))) ** 2)
