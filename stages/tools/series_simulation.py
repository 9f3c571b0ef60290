"""Print docs/series.md: how often a series of tries without a true effect ends in a false "better".

`python -m stages.tools.series_simulation > docs/series.md` after a change of the rule or of the tests; a
long test compares what is committed with what this command prints.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.core.schema import EvaluateClassifier
from stages.evaluation.experiments import compare_runs
from stages.evaluation.metric_significance import equality_test
from stages.evaluation.series import required_level
from stages.evaluation.significance import power_of_mcnemar, smallest_detectable_gain
from stages.report.formatting import markdown_table, percent

if TYPE_CHECKING:
    from numpy.random import Generator

SERIES, TRIES = 1000, 20
PARAMS = EvaluateClassifier(
    confidence=0.95,
    resamples=1000,
    seed=0,
    bins=10,
    worthwhile_gain=0.05,
    assumed_regressions=0.05,
)
ALPHA = 1 - PARAMS.confidence


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


SETTINGS = (
    Setting("184 texts", 184, 0.85),
    Setting("252 images", 252, 0.95),
    Setting("252 images of 14 writers", 252, 0.95, 14, 1.0),
)
# How evenly the samples' chances of being right are spread: with 0.5 two models of accuracy 0.85 differ on
# 9% of the samples, about as much as two training seeds do.
_CONCENTRATION = 0.5


@dataclass(frozen=True)
class FalseFindings:
    """The shares of series without a true effect that end in at least one false "better".

    Attributes:
        uncorrected: if each try is taken for the only one.
        corrected: at the level that the series requires.
        kept: at that level, and confirmed on a fresh draw.
    """

    uncorrected: float
    corrected: float
    kept: float


class _Draw:
    """A draw of validation samples, on which models can be drawn that are equally good in truth."""

    def __init__(self, setting: Setting, random: "Generator") -> None:
        self.setting, self.random = setting, random
        shares = np.array([setting.accuracy, 1 - setting.accuracy]) * _CONCENTRATION
        chances = random.beta(*shares, size=setting.samples).clip(1e-9, 1 - 1e-9)
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
        _, p = equality_test(labels, before, after, 2, PARAMS, self.groups)
        if p >= level or after.mean() <= before.mean():
            return False  # as would `compare_runs`, which takes longer
        tables = (
            pd.DataFrame(
                {"id": range(len(labels)), "group": self.groups, "label": 1, "seed_0": model}
            )
            for model in (before, after)
        )
        params = PARAMS.model_copy(update={"confidence": 1 - level})
        return compare_runs(*tables, params).verdict == "better"


def simulate(setting: Setting, series: int, tries: int = TRIES, seed: int = 0) -> FalseFindings:
    """Return the false findings of series of tries, each of which changes the present model at random.

    Args:
        setting: the validation data.
        series: how many.
        tries: in each.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    endings = []
    for _ in range(series):
        draw = _Draw(setting, random)
        before = draw.model()
        models = [draw.model() for _ in range(tries)]
        single = [draw.is_better(before, model, ALPHA) for model in models]
        found = [
            better and draw.is_better(before, model, required_level(number, ALPHA))
            for number, (better, model) in enumerate(zip(single, models, strict=True), 1)
        ]
        kept = [better and _is_confirmed(setting, random) for better in found]
        endings.append([any(single), any(found), any(kept)])
    return FalseFindings(*map(float, np.mean(endings, axis=0)))


def _is_confirmed(setting: Setting, random: "Generator") -> bool:
    draw = _Draw(setting, random)
    return draw.is_better(draw.model(), draw.model(), ALPHA)


def table_of_false_findings(series: int = SERIES) -> str:
    """Return the shares of series that end in a false "better", in Markdown."""
    rows = []
    for setting in SETTINGS:
        false = simulate(setting, series)
        rows.append((setting.name, *map(percent, (false.uncorrected, false.corrected, false.kept))))
    header = ("validation data", "each try taken alone", "as a series", "kept with `--keep`")
    return markdown_table(header, rows, [1, 2, 3])


_NUMBERS = (1, 2, 5, 10, 20)
_GAINS = (0.05, 0.1)


def table_of_power() -> str:
    """Return the power that the correction costs, in Markdown: closed forms for McNemar's test."""
    return markdown_table(
        ("validation data", "true gain", "alone", *(f"try {number}" for number in _NUMBERS)),
        _power_rows(),
        range(1, 3 + len(_NUMBERS)),
    )


def _power_rows() -> Iterator[Sequence[str]]:
    levels = [ALPHA, *(required_level(number, ALPHA) for number in _NUMBERS)]
    regressions = PARAMS.assumed_regressions
    for setting in SETTINGS:
        if setting.groups:
            continue
        for gain in _GAINS:
            powers = (
                power_of_mcnemar(gain, regressions, setting.samples, level) for level in levels
            )
            yield setting.name, f"{100 * gain:.0f} points", *(percent(power, 0) for power in powers)
        gains = (smallest_detectable_gain(regressions, setting.samples, level) for level in levels)
        yield setting.name, "found in 80%", *(f"{100 * gain:.1f} points" for gain in gains)


def page() -> str:
    """Return the text of docs/series.md."""
    levels = ", ".join(
        f"{required_level(number, ALPHA):.2g} for try {number}" for number in _NUMBERS
    )
    return f"""# A series of tries

Printed by `python -m stages.tools.series_simulation`; do not edit it by hand.

Who tries one change after another on the same validation data finds one that is "better" by luck sooner
or later. `evidence experiment` therefore counts the tries on a draw of validation data, kept or not,
failed or not, and asks more of each: the p value of try j must lie below alpha / (j (j + 1)), with alpha
= 1 - `evaluate.confidence`. At 0.95 that is {levels}. These levels add up to alpha, so that the chance of
any false verdict in the series is at most alpha, however long it gets and however much the tries depend
on each other (alpha spending; Tian and Ramdas, 2021, [arXiv
1910.04900](https://arxiv.org/abs/1910.04900)). No verdict changes because of a later try, as it would
under Holm's rule. Methods that earn level back with each finding (alpha investing, LOND) limit the share
of false findings instead, and need more than is known of how the tries depend on each other.

A series ends with a fresh draw: another `prepare.split.seed`, or other raw data. Official validation data
cannot be drawn again, so their series never ends. Rows of experiments.csv from before series were counted
do not name their draw; they count as tries on the present one.

**What the rule does not cover.** It takes each change as chosen without a look at earlier results. Who
lets them choose, for instance by combining all changes that seemed to help, can still find luck (Dwork et
al., 2015, "The reusable holdout"). So `--keep` tests a better change once more: it trains the task with
another split seed, before and after the change, and applies the change only if it is better there too, at
the level of a single test. Test samples of the present draw are left out of that test, except with folds,
where every sample is test data of one fold, and for a generator, whose distance is that to all validation
images. `--unconfirmed` skips the test.

## With no true effect

The share of {SERIES} simulated series of {TRIES} tries that end in at least one false *better*. Every try
changes the present model at random and leaves it as good as it is: all models are right on a sample with
the same probability, and two of them differ on about 9% of the texts. One training seed; with several,
which must all gain, there are fewer.

{table_of_false_findings()}

## What it costs

The power of the exact McNemar test for a change with a true gain that breaks
{percent(PARAMS.assumed_regressions, 0)} of the samples, and the gain that is found in 80% of cases
(closed forms, no simulation). Fewer tries, and more validation data, win it back.

{table_of_power()}
"""


if __name__ == "__main__":
    print(page(), end="")
