"""The report of a verification: as data, as a document, and for a terminal."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.core.errors import USER_ERROR_STATUS, printable
from stages.tools.verify.machines import Machines
from stages.tools.verify.verdicts import STORED_WEIGHTS, Finding, Verdict, summarise, worst_verdict

if TYPE_CHECKING:
    from stages.report.document import Document, Table

TIERS = ("hashes", "metrics", "predictions", "retrain")
OUTSIDE_STATUS = 1


@dataclass(frozen=True)
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
    """

    repository: str
    revision: str
    requested: str
    machines: Machines
    tiers: list[Tier] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def stages(self) -> list[Finding]:
        """Return one finding for each stage, over all tiers."""
        by_stage: dict[str, list[Finding]] = {}
        for tier in self.tiers:
            for finding in tier.findings:
                by_stage.setdefault(finding.stage, []).append(finding)
        return [summarise(findings) for findings in by_stage.values()]

    def with_verdict(self, *verdicts: Verdict) -> list[tuple[str, Finding]]:
        """Return the findings with a reason and one of these verdicts, each with the name of its tier."""
        return [
            (tier.name, finding)
            for tier in self.tiers
            for finding in tier.findings
            if finding.verdict in verdicts and finding.reason
        ]

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
        """Return the exit status."""
        if self.verdict() is Verdict.OUTSIDE:
            return OUTSIDE_STATUS
        last = self.tiers[-1]
        no_entry = any(finding.verdict is Verdict.UNCHECKED for finding in self.tiers[0].findings)
        if last.name == self.requested == "hashes":
            return USER_ERROR_STATUS if no_entry else 0
        unchecked = {
            finding.stage for finding in self.stages() if finding.verdict is Verdict.UNCHECKED
        }
        unchecked_last = {
            finding.stage
            for finding in last.findings
            if finding.verdict is Verdict.UNCHECKED and finding.reason != STORED_WEIGHTS
        }
        incomplete = last.name != self.requested
        return USER_ERROR_STATUS if no_entry or incomplete or unchecked & unchecked_last else 0

    def line(self) -> str:
        """Return the result in one line."""
        stages = self.stages()
        counts = {
            verdict: sum(finding.verdict is verdict for finding in stages) for verdict in Verdict
        }
        parts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items() if number)
        tiers = ", ".join(tier.name for tier in self.tiers)
        complete = not counts[Verdict.UNCHECKED] and self.verdict() is not Verdict.UNCHECKED
        summary = {
            0: str(self.verdict()) if complete else "nothing disagrees",
            OUTSIDE_STATUS: "outside: what is committed is not what its sources give",
            USER_ERROR_STATUS: "could not be checked",
        }[self.status()]
        return f"{summary}; {len(stages)} stages: {parts} (tiers {tiers})"

    def data(self) -> dict[str, Any]:
        """Return the report as data."""
        return {
            "repository": self.repository,
            "revision": self.revision,
            "verdict": str(self.verdict()),
            "status": self.status(),
            "line": self.line(),
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
            "notes": self.notes,
            "host": self.machines.host,
            "machines": self.machines.recorded,
        }


def _finding_data(finding: Finding) -> dict[str, str]:
    return {
        "stage": finding.stage,
        "verdict": str(finding.verdict),
        "reason": finding.reason,
    }


def _stage_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table of stages and tiers."""
    tiers = [tier.name for tier in report.tiers]
    rows = []
    for finding in report.stages():
        verdicts = report.by_tier(finding.stage)
        cells = (str(verdicts.get(tier, "")) for tier in tiers)
        rows.append([finding.stage, *cells, str(finding.verdict)])
    return ["stage", *tiers, "verdict"], rows


def document(report: Report) -> "Document":
    """Return the report as a document, to be rendered as Markdown or as a page."""
    from stages.report.document import Document, Facts, Section, Table

    heads, rows = _stage_rows(report)
    outside = [
        (f"{finding.stage} ({tier})", finding.reason)
        for tier, finding in report.with_verdict(Verdict.OUTSIDE)
    ]
    excused = [
        (f"{finding.stage} ({tier})", f"{finding.verdict}: {finding.reason}")
        for tier, finding in report.with_verdict(Verdict.SAME, Verdict.TOLERANCE)
    ]
    unchecked = [
        (finding.stage, finding.reason)
        for finding in report.stages()
        if finding.verdict is Verdict.UNCHECKED
    ]
    notes = [("note", note) for note in report.notes]
    seconds = [[tier.name, f"{tier.seconds:.1f}"] for tier in report.tiers]
    sections = [
        Section("stages", "Stages", [Table("By stage and tier", heads, rows)]),
        *([Section("outside", "What disagrees", [Facts(outside)])] if outside else []),
        *([Section("excused", "What differs and is excused", [Facts(excused)])] if excused else []),
        *([Section("unchecked", "Not checked", [Facts(unchecked)])] if unchecked else []),
        Section("cost", "Cost", [Table("Seconds by tier", ["tier", "seconds"], seconds, [1])]),
        Section("machines", "Machines", [_machine_table(report.machines)]),
        *([Section("notes", "Notes", [Facts(notes)])] if notes else []),
    ]
    summary = f"{report.repository} at {report.revision}"
    return Document("Verification", report.line(), summary, sections)


def _machine_lines(machines: Machines) -> list[str]:
    """Return in words what this machine is, and which results were computed on another one."""
    properties = ", ".join(f"{key} {value}" for key, value in machines.host.items())
    lines = [f"verified on {properties}"]
    same_machine = []
    for task in machines.recorded:
        differences = machines.differences(task)
        if differences:
            properties = ", ".join(f"{key} {value}" for key, value in differences.items())
            lines.append(f"{task} was computed on another machine: {properties}")
        else:
            same_machine.append(task)
    if same_machine:
        lines.append(f"computed on a machine like this one: {', '.join(same_machine)}")
    return lines


def _machine_table(machines: Machines) -> "Table":
    from stages.report.document import Table

    columns = {"this machine": machines.host, **machines.recorded}
    keys = dict.fromkeys(key for record in columns.values() for key in record)
    rows = [[key, *(str(record.get(key, "")) for record in columns.values())] for key in keys]
    caption = "Where it was verified, and where the committed results of each task were computed"
    return Table(caption, ["", *columns], rows)


def table(report: Report) -> str:
    """Return the report for a terminal."""
    heads, stages = _stage_rows(report)
    seconds = ["seconds", *(f"{tier.seconds:.1f}" for tier in report.tiers), ""]
    rows = [heads, *stages, seconds]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [
        f"{tier}, {finding.stage}: {printable(finding.reason)}"
        for tier, finding in report.with_verdict(Verdict.OUTSIDE, Verdict.SAME, Verdict.TOLERANCE)
    ]
    if report.tiers[-1].name not in {"hashes", "metrics"}:
        lines += [
            f"not checked, {finding.stage}: {printable(finding.reason)}"
            for finding in report.stages()
            if finding.verdict is Verdict.UNCHECKED
        ]
    notes = [*report.notes, *_machine_lines(report.machines)]
    lines += [f"note: {printable(note)}" for note in notes]
    return "\n".join([*lines, report.line()])
