"""What a check may say of a stage, from best to worst, and how several are summed up."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What was found, held against what is committed."""

    BITWISE = "bit for bit"
    SAME = "same predictions"
    BAND = "within the measured band"
    AGREES = "agrees"  # what is there fits together, but nothing was computed anew
    UNCHECKED = "not checked"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class Finding:
    """What one tier found of one stage; `said` names what disagrees with what, or why not checked."""

    stage: str
    verdict: Verdict
    said: str = ""


STORED = "stored weights were taken"  # of training, which the tier predictions leaves out
RERUN = (Verdict.BITWISE, Verdict.SAME, Verdict.BAND)


def summed(findings: Iterable[Finding]) -> Finding:
    """Return what several findings of one stage come to, given cheapest tier first.

    A disagreement stands whatever comes after it; else the dearest tier that computed anew tells.
    """
    found = list(findings)
    outside = [one for one in found if one.verdict is Verdict.OUTSIDE]
    rerun = [one for one in found if one.verdict in RERUN]
    if outside:
        return outside[0]
    if rerun:
        return rerun[-1]
    name = found[0].stage
    reasons = list(dict.fromkeys(one.said for one in found if one.said))
    return Finding(name, Verdict.UNCHECKED, "; ".join(reasons) or "not run again")


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict on a repository: that of its worst stage, of those that were checked."""
    order = list(Verdict)
    verdicts = [one.verdict for one in findings]
    if Verdict.OUTSIDE in verdicts:
        return Verdict.OUTSIDE
    checked = [one for one in verdicts if one in RERUN]
    return max(checked, key=order.index) if checked else Verdict.UNCHECKED
