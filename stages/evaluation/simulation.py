"""Simulated test sets whose truth is known: how often the verdict errs, and how often intervals hold it.

A sample is fixed, broken, right for both methods or wrong for both. How often it is fixed, and how often
both are right, varies from group to group; that is the correlation within groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stages.core.progress import progress
from stages.evaluation.clustered import Clustering
from stages.evaluation.metric_significance import compare_predictions, metric_interval
from stages.evaluation.significance import smallest_detectable_gain
from stages.evaluation.verdict import POWER, Improvement

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier

SIZES = (10, 50)  # of the smallest and the largest group
_ROUNDS = 20  # until gain and design effect agree
_BOTH_RIGHT = 0.8  # share of the samples on which the methods agree


@dataclass(frozen=True)
class Scenario:
    """A population of groups, and how many of them a test set has.

    Attributes:
        groups: number of groups, of 10 to 50 samples in equal steps.
        effects: gains of groups about the mean, one of which each group draws; they sum to 0. (0,): samples
            are independent.
        gain: true gain in accuracy of the population.
        regressions: share of samples that the model breaks.
    """

    groups: int
    effects: tuple[float, ...] = (0.0,)
    gain: float = 0.0
    regressions: float = 0.1

    @property
    def sizes(self) -> np.ndarray:
        """Return the number of samples of each group, (groups,)."""
        return np.linspace(*SIZES, self.groups).round().astype(np.int64)

    @property
    def differing(self) -> float:
        """Return the share of samples that only one method gets right."""
        return self.gain + 2 * self.regressions

    @property
    def score(self) -> float:
        """Return the true accuracy of the model."""
        return self.gain + self.regressions + _BOTH_RIGHT * (1 - self.differing)

    @property
    def design_effect(self) -> float:
        """Return the variance of the gain over that of independent samples (Kish, 1965, section 8.2)."""
        correlation = float(np.mean(np.square(self.effects))) / (self.differing - self.gain**2)
        return 1 + (float((self.sizes**2).sum() / self.sizes.sum()) - 1) * correlation

    def detectable(self, alpha: float) -> float:
        """Return the smallest gain that such a test set promises to detect with 80% power."""
        spread = Clustering(self.sizes, 0.0, self.design_effect)
        effective = spread.detecting_count(int(self.sizes.sum()), alpha, POWER)
        return smallest_detectable_gain(self.regressions, int(effective), alpha)

    def at_detectable_gain(self, alpha: float) -> "Scenario":
        """Return the scenario whose gain is the smallest that its own test sets promise to detect."""
        scenario = self
        for _ in range(_ROUNDS):  # the design effect depends on the gain
            scenario = replace(scenario, gain=scenario.detectable(alpha))
        return scenario

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return whether the baseline and the model are right, and the groups, (n,) each."""
        groups = np.repeat(np.arange(self.groups), self.sizes)
        effects = random.choice(self.effects, self.groups)
        # Groups with a gain above the mean also have more samples that both get right.
        agreeing = (1 - self.differing) * (_BOTH_RIGHT + effects)
        fixes = self.gain + self.regressions + effects / 2
        breaks = self.regressions - effects / 2
        limits = np.cumsum([fixes, breaks, agreeing], axis=0)[:, groups]
        fixed, broken, right = np.diff(random.random(len(groups)) < limits, axis=0, prepend=False)
        return broken | right, fixed | right, groups


@dataclass(frozen=True)
class Rates:
    """Shares of simulated test sets.

    Attributes:
        rejected: whose p value is below 1 - confidence.
        rejected_ungrouped: the same of the test that knows no groups.
        better: with the verdict better.
        worse: with the verdict worse.
        covered: whose interval of the gain holds the true gain.
        covered_by_t: the same of the interval by the standard error.
        covered_ungrouped: the same of the interval that knows no groups.
        score_covered: whose interval of the model's accuracy holds the true accuracy.
    """

    rejected: float
    rejected_ungrouped: float
    better: float
    worse: float
    covered: float
    covered_by_t: float
    covered_ungrouped: float
    score_covered: float


def simulate(scenario: Scenario, count: int, seed: int, params: "EvaluateClassifier") -> Rates:
    """Return the rates over `count` test sets of a scenario, by the functions that judge real ones.

    Args:
        scenario: the truth.
        count: of test sets.
        seed: of the random numbers.
        params: of the stage evaluate; metric is accuracy.
    """
    outcomes = np.array(list(_outcomes(scenario, count, seed, params)), dtype=float)
    return Rates(*(float(share) for share in outcomes.mean(axis=0)))


def _outcomes(
    scenario: Scenario, count: int, seed: int, params: "EvaluateClassifier"
) -> Iterator[tuple[bool, ...]]:
    random, alpha = np.random.default_rng(seed), 1 - params.confidence
    for _ in progress(range(count), f"simulation of {scenario.groups} groups"):
        baseline, model, groups = scenario.draw(random)
        labels = np.ones(len(model), dtype=np.int64)
        predicted = model.astype(np.int64)
        data = labels, baseline.astype(np.int64), predicted[None], 2, params
        grouped, ungrouped = compare_predictions(*data, groups), compare_predictions(*data)
        low, high = metric_interval("accuracy", labels, predicted, 2, params, groups)
        yield (
            grouped.figures["p"] < alpha,
            ungrouped.figures["p"] < alpha,
            grouped.verdict == "better",
            grouped.verdict == "worse",
            _holds(grouped, "gain", scenario.gain),
            _holds(grouped, "gain_t", scenario.gain),
            _holds(ungrouped, "gain", scenario.gain),
            low <= scenario.score <= high,
        )


def _holds(improvement: Improvement, name: str, value: float) -> bool:
    """Return whether an interval holds the true value, but for rounding."""
    low, high = improvement.figures[f"{name}_low"], improvement.figures[f"{name}_high"]
    return bool(low - 1e-12 <= value <= high + 1e-12)
