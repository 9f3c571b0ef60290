"""A condition that a receiver puts on a result, and whether it is met."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """Whether a condition is met, from best to worst."""

    HOLDS = "holds"
    COMMITTED = "holds only as committed, not recomputed"
    UNCHECKED = "not checked"
    FAILS = "does not hold"


@dataclass(frozen=True)
class Condition:
    """A condition, and whether a result meets it.

    Attributes:
        name: in words: "claim: image accuracy >= 0.97".
        outcome: whether it is met.
        reason: the figures or files that decide, or why it was not checked.
    """

    name: str
    outcome: Outcome
    reason: str = ""

    def data(self) -> dict[str, Any]:
        """Return the condition as JSON takes it."""
        return {"condition": self.name, "outcome": str(self.outcome), "reason": self.reason}


def summarise_outcomes(outcomes: Iterable[str]) -> str:
    """Return how many conditions have each outcome: "2 holds, 1 does not hold"."""
    texts = [str(outcome) for outcome in outcomes]
    counts = {str(outcome): texts.count(str(outcome)) for outcome in Outcome}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
