"""A series of tries on the same validation data: the level that the p value of each must reach.

Who tries one change after another on the same data finds one "better" by luck sooner or later. So the tries
share one level alpha: the j-th gets the share 1 / (j (j + 1)) of it, and these shares add up to 1, however
many tries follow. A false "better" is one side of a two-sided test, so its p value may be up to twice that
share of alpha; the first try is tested as if it were the only one.

By Bonferroni's inequality the chance of any false "better" in the series is at most alpha, whatever the
dependence between the tries, which share their samples and the model that they change (alpha spending: Tian
and Ramdas, 2021, "Online control of the familywise error rate"); that of a false "worse" likewise. Methods
that earn level back with each finding, such as alpha investing (Foster and Stine, 2008) and LOND
(Javanmard and Montanari, 2015), limit the share of false findings instead, and not under every dependence;
Holm's takes earlier verdicts back.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stages.core.task import Task


def required_level(number: int, alpha: float) -> float:
    """Return the level below which the two-sided p value of a try must lie: 2 alpha / (j (j + 1)).

    Args:
        number: of the try in its series, j, from 1.
        alpha: the probability of any false "better" in the series.
    """
    return 2 * alpha / (number * (number + 1))


def with_level(task: "Task", level: float) -> "Task":
    """Return a task whose tests and intervals have another level: `evaluate.confidence` is 1 - level."""
    evaluate = task.params.evaluate.model_copy(update={"confidence": 1 - level})
    return replace(task, params=task.params.model_copy(update={"evaluate": evaluate}))


def shortfall(p: float, number: int, alpha: float) -> str:
    """Return in words that a p value would be enough for a single try but not in its series; "" otherwise.

    Args:
        p: of the try.
        number: of the try in its series, from 1.
        alpha: the probability of any false "better" in the series.
    """
    level = required_level(number, alpha)
    if not level <= p < alpha:
        return ""
    return f"p {p:.2g} is not enough after {number} tries: needs p below {level:.2g}"
