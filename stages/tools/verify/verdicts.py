"""The verdicts on a stage, and how the findings of several tiers are summarised."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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
    """

    stage: str
    verdict: Verdict
    reason: str = ""


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
    if outside:
        return outside[0]
    if rerun:
        return rerun[-1]
    reasons = dict.fromkeys(finding.reason for finding in findings if finding.reason)
    return Finding(findings[0].stage, Verdict.UNCHECKED, "; ".join(reasons) or "not run again")


def worst_verdict(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict on a repository: the worst of its stages that were checked."""
    order = list(Verdict)
    verdicts = [finding.verdict for finding in findings]
    if Verdict.OUTSIDE in verdicts:
        return Verdict.OUTSIDE
    checked = [verdict for verdict in verdicts if verdict in RERUN]
    return max(checked, key=order.index) if checked else Verdict.UNCHECKED
