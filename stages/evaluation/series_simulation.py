"""Simulated series of tries without a true effect: how often they end in a false "better"."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.evaluation.experiments import compare_runs
from stages.evaluation.metric_significance import equality_test
from stages.evaluation.series import required_level

if TYPE_CHECKING:
    from numpy.random import Generator

    from stages.core.schema import EvaluateClassifier


@dataclass(frozen=True)
class Setting:
    """Validation data on which models are tried that are equally good in truth.

    Attributes:
        name: in words.
        samples: how many there are.
        accuracy: the true accuracy of every model.
        groups: into which the samples are divided; 0: they are independent.
        group_effect: standard deviation, between groups, of a model's own log odds of being right, so that
            two models differ by more in some groups than in others.
    """

    name: str
    samples: int
    accuracy: float
    groups: int = 0
    group_effect: float = 0.0


# How evenly the samples' chances of being right are spread: with 0.5 two models of accuracy 0.85 differ on
# 9% of the samples, about as much as two training seeds do.
_CONCENTRATION = 0.5


@dataclass(frozen=True)
class FalseFindings:
    """The shares of series without a true effect that end in at least one false "better".

    Attributes:
        uncorrected: if each try is taken for the only one.
        corrected: at the level that the series requires.
        confirmed: at that level, and confirmed on a fresh draw.
    """

    uncorrected: float
    corrected: float
    confirmed: float


class Draw:
    """A draw of validation samples, on which models can be drawn that are equally good in truth."""

    def __init__(self, setting: Setting, random: "Generator", params: "EvaluateClassifier") -> None:
        self.setting, self.random, self.params = setting, random, params
        right, wrong = (
            share * _CONCENTRATION for share in (setting.accuracy, 1 - setting.accuracy)
        )
        chances = random.beta(right, wrong, size=setting.samples).clip(1e-9, 1 - 1e-9)
        self.log_odds = np.log(chances / (1 - chances))
        self.groups = np.arange(setting.samples) % (setting.groups or setting.samples)

    def model(self) -> np.ndarray:
        """Return the labels that a model predicts; the true ones are 1."""
        effects = self.random.normal(0, self.setting.group_effect, self.groups.max() + 1)
        odds = np.exp(-self.log_odds - effects[self.groups])
        right: np.ndarray = self.random.random(len(odds)) < 1 / (1 + odds)
        return right.astype(np.int64)

    def is_better(self, before: np.ndarray, after: np.ndarray, level: float) -> bool:
        """Return whether a model counts as better than another one, at a level."""
        labels = np.ones_like(before)
        _, p = equality_test(labels, before, after, 2, self.params, self.groups)
        if p >= level or after.mean() <= before.mean():
            return False  # as would `compare_runs`, which takes longer
        table = pd.DataFrame({"id": range(len(labels)), "group": self.groups, "label": labels})
        tables = [table.assign(seed_0=predicted) for predicted in (before, after)]
        params = self.params.model_copy(update={"confidence": 1 - level})
        return compare_runs(tables[0], tables[1], params).verdict == "better"

    def confirms(self) -> bool:
        """Return whether one model counts as better than another one, at the level of a single test."""
        return self.is_better(self.model(), self.model(), 1 - self.params.confidence)


def simulate_series(
    setting: Setting, series: int, tries: int, seed: int, params: "EvaluateClassifier"
) -> FalseFindings:
    """Return the false findings of series of tries, each of which changes the present model at random.

    Args:
        setting: the validation data.
        series: how many.
        tries: in each.
        seed: of the random numbers.
        params: confidence, and what the verdict needs besides.
    """
    random, alpha = np.random.default_rng(seed), 1 - params.confidence
    endings = []
    for _ in range(series):
        draw = Draw(setting, random, params)
        before = draw.model()
        models = [draw.model() for _ in range(tries)]
        single = [draw.is_better(before, model, alpha) for model in models]
        corrected = [
            better and draw.is_better(before, model, required_level(number, alpha))
            for number, (better, model) in enumerate(zip(single, models, strict=True), 1)
        ]
        confirmed = [better and Draw(setting, random, params).confirms() for better in corrected]
        endings.append([any(single), any(corrected), any(confirmed)])
    return FalseFindings(*map(float, np.mean(endings, axis=0)))
