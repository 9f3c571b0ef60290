"""What a receiver asks of a result beside its reproduction: claims, rules of a policy, other data."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from stages.report.document import Table


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

    def finding(self) -> Finding:
        """Return the condition as a finding, so that it counts in the verdict and the exit status."""
        verdicts = {Outcome.HOLDS: Verdict.AGREES, Outcome.FAILS: Verdict.OUTSIDE}
        verdict = verdicts.get(self.outcome, Verdict.UNCHECKED)
        reason = f"{self.outcome}: {self.reason}" if self.reason else str(self.outcome)
        return Finding(self.name, verdict, reason)

    def data(self) -> dict[str, Any]:
        """Return the condition as JSON takes it."""
        return {"condition": self.name, "outcome": str(self.outcome), "reason": self.reason}


def summary(outcomes: Sequence[str]) -> str:
    """Return how many conditions have each outcome: "2 holds, 1 does not hold"."""
    counts = {str(outcome): outcomes.count(str(outcome)) for outcome in Outcome}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)


def condition_table(conditions: Sequence[Condition]) -> "Table":
    """Return the conditions as a table of a document."""
    from stages.report.document import Table

    rows = [[condition.name, str(condition.outcome), condition.reason] for condition in conditions]
    return Table("What the receiver asked for", ["condition", "outcome", "reason"], rows)
