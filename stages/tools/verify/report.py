"""The report of a verification: its status, its summary, and its content as data."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from stages.core.errors import USER_ERROR_STATUS
from stages.tools.verify.code import CodeDifference
from stages.tools.verify.conditions.condition import Condition, Outcome, summarise_outcomes
from stages.tools.verify.figures import Coverage
from stages.tools.verify.machines import Machines
from stages.tools.verify.verdicts import (
    RERUN,
    STORED_WEIGHTS,
    Finding,
    Verdict,
    summarise,
    worst_verdict,
)

TIERS = ("hashes", "metrics", "predictions", "retrain")
OUTSIDE_STATUS = 1
OTHER_CODE_STATUS = 3
_NAMES_IN_LINE = 5  # names of files in a line


@dataclass
class Tier:
    """The findings of one tier, and how long it took."""

    name: str
    seconds: float
    findings: list[Finding]


@dataclass
class Report:
    """What was verified, and the findings.

    Attributes:
        repository: the path or URL that was given.
        revision: the commit.
        requested: the last tier to run.
        machines: this one, and those on which the committed results were computed.
        tiers: in the order in which they ran.
        notes: what was left out, and why.
        name: of the revision, as it was given.
        base: the revision whose code is trusted, as it was given; "" for this project's own code.
        code: in which files the code differs from the trusted one.
        remarks: choices that no tier can check and a reader should look at.
        coverage: how many of the figures on the pages were computed again.
        unprotected: what this system does not offer to confine the code that ran.
        conditions: what the receiver asked for beside, and whether it holds.
        origin: the path or URL of the git repository; of an archive the one into which it is unpacked.
    """

    repository: str
    revision: str
    requested: str
    machines: Machines
    tiers: list[Tier] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    name: str = "HEAD"
    base: str = ""
    code: list[CodeDifference] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    unprotected: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    origin: str = ""

    def stages(self) -> list[Finding]:
        """Return one finding for each stage, over all tiers."""
        by_stage: dict[str, list[Finding]] = {}
        for tier in self.tiers:
            for finding in tier.findings:
                by_stage.setdefault(finding.stage, []).append(finding)
        return [summarise(findings) for findings in by_stage.values()]

    def run_again(self) -> set[str]:
        """Return the names of the stages that were run again and agree."""
        return {finding.stage for finding in self.stages() if finding.verdict in RERUN}

    def seconds(self) -> float:
        """Return the seconds of all tiers."""
        return sum(tier.seconds for tier in self.tiers)

    def with_verdict(self, *verdicts: Verdict) -> list[tuple[str, Finding]]:
        """Return the findings with a reason and one of these verdicts, each with the name of its tier."""
        return [
            (tier.name, finding)
            for tier in self.tiers
            for finding in tier.findings
            if finding.verdict in verdicts and finding.reason
        ]

    def unchecked(self) -> dict[str, list[str]]:
        """Return why stages are not checked: reason -> their names."""
        reasons: dict[str, list[str]] = {}
        for finding in self.stages():
            if finding.verdict is Verdict.UNCHECKED:
                reasons.setdefault(finding.reason, []).append(finding.stage)
        return reasons

    def by_tier(self, stage: str) -> dict[str, Verdict]:
        """Return the verdict of each tier on a stage, its worst one."""
        worst: dict[str, Verdict] = {}
        for tier in self.tiers:
            verdicts = [finding.verdict for finding in tier.findings if finding.stage == stage]
            if verdicts:
                worst[tier.name] = max(verdicts, key=list(Verdict).index)
        return worst

    def verdict(self) -> Verdict:
        """Return the verdict on all stages together."""
        return worst_verdict(self.stages())

    def status(self) -> int:
        """Return the exit status.

        0: nothing disagrees. 1: something does, or a condition does not hold. 2: something requested
        could not be checked. 3: nothing disagrees, but the revision's code is not the trusted one.
        """
        outcomes = {condition.outcome for condition in self.conditions}
        if Outcome.FAILS in outcomes:
            return OUTSIDE_STATUS
        status = self._status_of_stages()
        is_open = status != OUTSIDE_STATUS and not outcomes <= {Outcome.HOLDS}
        return USER_ERROR_STATUS if is_open else status

    def _status_of_stages(self) -> int:
        """Return the exit status without the conditions."""
        if self.verdict() is Verdict.OUTSIDE:
            return OUTSIDE_STATUS
        if self._is_incomplete():
            return USER_ERROR_STATUS
        return OTHER_CODE_STATUS if self.code else 0

    def _is_incomplete(self) -> bool:
        """Return whether something that was requested could not be checked."""
        last = self.tiers[-1]
        first = self.tiers[0].findings
        if last.name != self.requested or any(
            finding.verdict is Verdict.UNCHECKED for finding in first
        ):
            return True
        unchecked = {stage for stages in self.unchecked().values() for stage in stages}
        return any(
            finding.verdict is Verdict.UNCHECKED
            and finding.reason != STORED_WEIGHTS
            and finding.stage in unchecked
            for finding in last.findings
        )

    def line(self) -> str:
        """Return the result in one line."""
        stages = self.stages()
        counts = {
            verdict: sum(finding.verdict is verdict for finding in stages) for verdict in Verdict
        }
        parts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
        line = f"{self._result(counts)} ({len(stages)} stages: {parts})"
        if not self.conditions:
            return line
        outcomes = summarise_outcomes(condition.outcome for condition in self.conditions)
        return f"{line}; conditions: {outcomes}"

    def _result(self, counts: dict[Verdict, int]) -> str:
        tiers = " and ".join(tier.name for tier in self.tiers)
        status, rerun = self._status_of_stages(), sum(counts[verdict] for verdict in RERUN)
        if status == OUTSIDE_STATUS:
            return "outside: what is committed is not what its sources give"
        if status == USER_ERROR_STATUS:
            return "could not be checked"
        complete = rerun == sum(counts.values())
        result = f"reproduced: {self.verdict()}" if complete else f"nothing disagrees at {tiers}"
        if status == OTHER_CODE_STATUS:
            number = len(self.code)
            author = " with the revision's own code" if complete else ""
            return f"{result}{author}: {number} files of code differ, read them"
        return result

    def summary(self) -> list[str]:
        """Return the result, what share of the figures was recomputed, and whose code it is."""
        return [self.line(), self._figures(), self._code()]

    def _figures(self) -> str:
        coverage = self.coverage
        if not coverage.figures:
            return "figures: none was computed again; the files were compared with their hashes"
        share = f"{coverage.recomputed:,} of {coverage.figures:,} on the pages were computed again"
        if not coverage.trusted:
            return f"figures: {share}; none is taken on trust"
        names = list_names(coverage.trusted)
        return f"figures: {share}; taken on trust: {names}, and the predictions in git"

    def _code(self) -> str:
        trusted = f"that of {self.base}" if self.base else "this verifier's"
        if not self.code:
            return f"code: the same as {trusted}"
        names = list_names(item.path for item in self.code)
        return f"code: {len(self.code)} files are not {trusted}: {names}"

    def data(self) -> dict[str, Any]:
        """Return the report as data."""
        return {
            "repository": self.repository,
            "name": self.name,
            "revision": self.revision,
            "verdict": str(self.verdict()),
            "status": self.status(),
            "line": self.line(),
            "summary": self.summary(),
            "tiers": [
                {
                    "tier": tier.name,
                    "seconds": round(tier.seconds, 1),
                    "findings": [_finding_data(finding) for finding in tier.findings],
                }
                for tier in self.tiers
            ],
            "stages": [
                {
                    **_finding_data(finding),
                    "tiers": {
                        tier: str(verdict) for tier, verdict in self.by_tier(finding.stage).items()
                    },
                }
                for finding in self.stages()
            ],
            "base": self.base,
            "code": [asdict(item) for item in self.code],
            "figures": asdict(self.coverage),
            "conditions": [condition.data() for condition in self.conditions],
            "remarks": self.remarks,
            "notes": self.notes,
            "host": self.machines.host,
            "machines": self.machines.recorded,
        }


def list_names(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    names = list(names)
    further = len(names) - _NAMES_IN_LINE
    return ", ".join(names[:_NAMES_IN_LINE]) + (f" and {further} more" if further > 0 else "")


def _finding_data(finding: Finding) -> dict[str, Any]:
    content = {
        "stage": finding.stage,
        "verdict": str(finding.verdict),
        "reason": finding.reason,
    }
    if finding.disagreement:
        return content | {"disagreement": finding.disagreement.details()}
    return content
