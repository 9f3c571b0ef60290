"""The verdicts on a stage, and how the findings of several tiers are summarised."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from stages.tools.verify.disagreements import Cause, Disagreement


class Verdict(StrEnum):
    """How a stage compares with what is committed, from best to worst."""

    BITWISE = "bit for bit"
    SAME = "same predictions"
    TOLERANCE = "within the measured tolerance"
    AGREES = "agrees"  # the files fit together, but nothing was computed again
    UNCHECKED = "not checked"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class Finding:
    """The verdict of one tier on one stage.

    Attributes:
        stage: by name.
        verdict: of the tier.
        reason: which values or files disagree, or why the stage was not checked.
        disagreement: its parts, where something disagrees.
    """

    stage: str
    verdict: Verdict
    reason: str = ""
    disagreement: Disagreement | None = None

    @classmethod
    def outside(cls, stage: str, disagreement: Disagreement) -> Self:
        """Return the finding that something disagrees."""
        return cls(stage, Verdict.OUTSIDE, disagreement.line, disagreement)

    def data(self) -> dict[str, Any]:
        """Return it as JSON can hold it; `from_data` reads it back."""
        content = asdict(self) | {"verdict": str(self.verdict)}
        if self.disagreement:
            content["disagreement"]["cause"] = self.disagreement.cause.name
        return content

    @classmethod
    def from_data(cls, content: dict[str, Any]) -> Self:
        """Return the finding of which `data` gave the content."""
        parts = content["disagreement"]
        disagreement = parts and Disagreement(**{**parts, "cause": Cause[parts["cause"]]})
        return cls(content["stage"], Verdict(content["verdict"]), content["reason"], disagreement)


STORED_WEIGHTS = "stored weights were used"  # of training, which the tier predictions leaves out
RERUN = (Verdict.BITWISE, Verdict.SAME, Verdict.TOLERANCE)


def summarise(findings: Iterable[Finding]) -> Finding:
    """Return the verdict on one stage over all tiers.

    A disagreement counts whatever the later tiers find; otherwise the last tier that ran the stage
    again decides.

    Args:
        findings: of the stage, cheapest tier first; at least one.
    """
    findings = list(findings)
    outside = [finding for finding in findings if finding.verdict is Verdict.OUTSIDE]
    rerun = [finding for finding in findings if finding.verdict in RERUN]
    unchecked = [finding for finding in findings if finding.verdict is Verdict.UNCHECKED]
    if outside:
        return outside[0]
    if rerun:
        return rerun[-1]
    if unchecked:
        reasons = dict.fromkeys(finding.reason for finding in unchecked)
        return Finding(findings[0].stage, Verdict.UNCHECKED, "; ".join(reasons))
    return findings[-1]


def worst_verdict(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict on a repository: the worst of its stages that were checked."""
    order = list(Verdict)
    verdicts = [finding.verdict for finding in findings]
    if Verdict.OUTSIDE in verdicts:
        return Verdict.OUTSIDE
    checked = [verdict for verdict in verdicts if verdict in RERUN]
    if checked:
        return max(checked, key=order.index)
    return Verdict.AGREES if Verdict.AGREES in verdicts else Verdict.UNCHECKED
