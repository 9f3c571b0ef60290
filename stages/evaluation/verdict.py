"""The verdict on a model beside its baseline: the rule, and the evidence that it weighs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.core.files import SMALLEST_FIGURE

if TYPE_CHECKING:
    import numpy as np

    from stages.core.schema import EvaluateClassifier

POWER = 0.8  # that a test set should have for a worthwhile gain

# The tests that two methods are equal, by their name in metrics.json.
MCNEMAR, SIGN_FLIP = "McNemar", "sign flip over groups"
PERMUTATION, GROUP_PERMUTATION = "permutation", "permutation over groups"


def smallest_p(groups: int) -> float:
    """Return the smallest p value that a two-sided sign-flip test over so many groups can reach."""
    return float(2.0 ** (1 - groups))


def groups_needed(alpha: float) -> int:
    """Return the smallest number of groups with which a sign-flip test can reach p below `alpha`."""
    groups = 1
    while smallest_p(groups) >= alpha:
        groups += 1
    return groups


@dataclass(frozen=True)
class Improvement:
    """The comparison of a model with its baseline.

    Attributes:
        verdict: "better", "worse", "equivalent", "not distinguishable", "underpowered" or "too few
            groups".
        figures: the numbers behind the verdict, by their keys in metrics.json.
    """

    verdict: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What the test samples say about the gain of the primary seed's model.

    Attributes:
        interval: of the gain, at `confidence`.
        fixed: number of samples that only the model predicts correctly.
        broken: number of samples that only the baseline predicts correctly.
        test: name of the test that the two are equal: one of the constants above.
        p: its two-sided p value.
        smallest_p: the smallest that it could reach on so many groups; 0 for independent samples.
        detectable: the smallest gain that it detects with 80% power.
        equivalence_p: p value that the accuracies differ by `equivalence_margin` or more; 1 without one.
        of_groups: the further figures of samples in groups.
    """

    interval: tuple[float, float]
    fixed: int
    broken: int
    test: str
    p: float
    smallest_p: float
    detectable: float
    equivalence_p: float
    of_groups: dict[str, Any]


def judge(evidence: Evidence, gains: "np.ndarray", params: "EvaluateClassifier") -> Improvement:
    """Return the verdict with its figures.

    Args:
        evidence: on the primary seed's model.
        gains: of each seed's model, (seeds,); the primary seed first.
        params: confidence, worthwhile_gain, equivalence_margin.
    """
    low, high = evidence.interval
    return Improvement(
        decide(evidence, gains, params),
        {
            "gain": float(gains[0]),
            "gain_low": low,
            "gain_high": high,
            "fixed": evidence.fixed,
            "broken": evidence.broken,
            "test": evidence.test,
            "p": max(evidence.p, SMALLEST_FIGURE),  # the smallest stands for "at most"
            **evidence.of_groups,
            "smallest_detectable_gain": evidence.detectable,
            "power": POWER,
            **seed_figures(gains),
        },
    )


def decide(evidence: Evidence, gains: "np.ndarray", params: "EvaluateClassifier") -> str:
    """Return the verdict: the first of these that applies.

    - equivalent: `equivalence_margin` is set, the interval of the gain lies within plus or minus the
      margin, and so do the accuracies by the score test (`significance.equivalence_test`): two one-sided
      tests (Schuirmann, 1987), each at level (1 - confidence) / 2. Whoever sets a margin asks for this
      verdict, so it comes before better and worse: a gain may be real and yet too small to matter;
    - too few groups: the samples come in groups, so few that the test could not reject whatever they show;
    - better: the test rejects at level 1 - confidence, the interval of the gain lies above 0, and the
      model of every seed gains;
    - worse: likewise, below 0;
    - underpowered: the test does not reject, and its power to detect a worthwhile gain is below 80%;
    - not distinguishable: otherwise.

    Args:
        evidence: on the primary seed's model.
        gains: of each seed's model, (seeds,).
        params: confidence, worthwhile_gain, equivalence_margin.
    """
    (low, high), alpha, margin = evidence.interval, 1 - params.confidence, params.equivalence_margin
    within = margin is not None and -margin < low and high < margin
    if within and evidence.equivalence_p < alpha / 2:
        return "equivalent"
    if evidence.smallest_p >= alpha:
        return "too few groups"
    if evidence.p < alpha and low > 0 and gains.min() > 0:
        return "better"
    if evidence.p < alpha and high < 0 and gains.max() < 0:
        return "worse"
    if evidence.p >= alpha and evidence.detectable > params.worthwhile_gain:
        return "underpowered"
    return "not distinguishable"


def seed_figures(gains: "np.ndarray") -> dict[str, Any]:
    """Return the number of seeds, and mean, extremes and standard deviation of their gains (seeds,)."""
    return {
        "seeds": len(gains),
        "seed_gain_mean": float(gains.mean()),
        "seed_gain_min": float(gains.min()),
        "seed_gain_max": float(gains.max()),
        "seed_gain_sd": float(gains.std(ddof=1)) if len(gains) > 1 else 0.0,
    }
