"""What verify found, and how it is told: as data, as a document, in a terminal."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from stages.shared.refusal import REFUSED, printable
from stages.shared.verifying.verdicts import STORED, Finding, Verdict, summed, worst

if TYPE_CHECKING:
    from stages.shared.document import Document, Table

TIERS = ("hashes", "metrics", "predictions", "retrain")
OUTSIDE = 1


@dataclass(frozen=True)
class Tier:
    """What one tier found, and what it cost."""

    name: str
    seconds: float
    findings: list[Finding]


@dataclass
class Report:
    """What was verified, and what was found.

    Attributes:
        repository: the path or URL that was given.
        revision: the commit.
        asked: the dearest tier that was asked for.
        tiers: in the order in which they ran.
        notes: what was not looked at, and why.
        machines: "here", and by row that on which the committed figures were made.
    """

    repository: str
    revision: str
    asked: str
    tiers: list[Tier] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    machines: dict[str, Any] = field(default_factory=dict)

    def stages(self) -> list[Finding]:
        """Return one finding a stage, all tiers summed up."""
        by: dict[str, list[Finding]] = {}
        for tier in self.tiers:
            for one in tier.findings:
                by.setdefault(one.stage, []).append(one)
        return [summed(some) for some in by.values()]

    def saying(self, *verdicts: Verdict) -> list[tuple[str, Finding]]:
        """Return the findings with one of these verdicts, each with the name of its tier."""
        return [
            (tier.name, one)
            for tier in self.tiers
            for one in tier.findings
            if one.verdict in verdicts and one.said
        ]

    def of(self, stage: str) -> dict[str, Verdict]:
        """Return by tier the verdict on a stage; the worst, where a tier has several findings."""
        found: dict[str, Verdict] = {}
        for tier in self.tiers:
            verdicts = [one.verdict for one in tier.findings if one.stage == stage]
            if verdicts:
                found[tier.name] = max(verdicts, key=list(Verdict).index)
        return found

    def verdict(self) -> Verdict:
        """Return the verdict on all stages together."""
        return worst(self.stages())

    def status(self) -> int:
        """Return the exit status."""
        if self.verdict() is Verdict.OUTSIDE:
            return OUTSIDE
        deepest = self.tiers[-1]
        unable = any(one.verdict is Verdict.UNCHECKED for one in self.tiers[0].findings)
        if deepest.name == self.asked == "hashes":
            return REFUSED if unable else 0
        open_ = [one for one in self.stages() if one.verdict is Verdict.UNCHECKED]
        stuck = {
            one.stage
            for one in deepest.findings
            if one.verdict is Verdict.UNCHECKED and one.said != STORED
        }
        left = deepest.name != self.asked
        return REFUSED if unable or left or stuck & {one.stage for one in open_} else 0

    def line(self) -> str:
        """Return the result in one line."""
        found = self.stages()
        count = {kind: sum(one.verdict is kind for one in found) for kind in Verdict}
        parts = ", ".join(f"{number} {kind}" for kind, number in count.items() if number)
        names = ", ".join(tier.name for tier in self.tiers)
        verdict = (
            str(self.verdict()) if self.verdict() is not Verdict.UNCHECKED else "nothing disagrees"
        )
        said = {
            0: verdict if not count[Verdict.UNCHECKED] else "nothing disagrees",
            OUTSIDE: "outside: what is committed is not what it is made of",
            REFUSED: "could not be checked",
        }[self.status()]
        return f"{said}; {len(found)} stages: {parts} (tiers {names})"

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
                    "findings": [
                        {**asdict(one), "verdict": str(one.verdict)} for one in tier.findings
                    ],
                }
                for tier in self.tiers
            ],
            "stages": [
                {
                    "stage": one.stage,
                    "verdict": str(one.verdict),
                    "why": one.said,
                    "tiers": {tier: str(verdict) for tier, verdict in self.of(one.stage).items()},
                }
                for one in self.stages()
            ],
            "notes": self.notes,
            "machines": self.machines,
        }


def document(report: Report) -> "Document":
    """Return the report as a document, to be rendered as Markdown or as a page."""
    from stages.shared.document import Document, Facts, Section, Table

    names = [tier.name for tier in report.tiers]
    rows = []
    for one in report.stages():
        verdicts = report.of(one.stage)
        rows.append([one.stage, *(str(verdicts.get(n, "")) for n in names), str(one.verdict)])
    wrong = [(f"{one.stage} ({tier})", one.said) for tier, one in report.saying(Verdict.OUTSIDE)]
    near = [
        (f"{one.stage} ({tier})", f"{one.verdict}: {one.said}")
        for tier, one in report.saying(Verdict.SAME, Verdict.BAND)
    ]
    unchecked = [
        (one.stage, one.said) for one in report.stages() if one.verdict is Verdict.UNCHECKED
    ]
    notes = [("note", one) for one in report.notes]
    cost = [[tier.name, f"{tier.seconds:.1f}"] for tier in report.tiers]
    sections = [
        Section(
            "stages", "Stages", [Table("By stage and tier", ["stage", *names, "verdict"], rows)]
        ),
        *([Section("wrong", "What disagrees", [Facts(wrong)])] if wrong else []),
        *([Section("near", "What is excused", [Facts(near)])] if near else []),
        *([Section("open", "Not checked", [Facts(unchecked)])] if unchecked else []),
        Section("cost", "Cost", [Table("Seconds by tier", ["tier", "seconds"], cost, [1])]),
        Section("machines", "Machines", [_machine_table(report.machines)]),
        *([Section("notes", "Notes", [Facts(notes)])] if notes else []),
    ]
    summary = f"{report.repository} at {report.revision}"
    return Document("Verification", report.line(), summary, sections)


def _told(machines: dict[str, Any]) -> list[str]:
    """Return what this machine is, and of which rows the committed figures come from another."""
    here = machines["here"]
    lines = ["verified on " + ", ".join(f"{key} {value}" for key, value in here.items())]
    alike = []
    for row, there in machines.items():
        keys = [key for key in there.keys() | here.keys() if there.get(key) != here.get(key)]
        if row != "here" and keys:
            other = ", ".join(f"{key} {there.get(key, 'not said')}" for key in sorted(keys))
            lines.append(f"{row} was made on another machine: {other}")
        elif row != "here":
            alike.append(row)
    return [*lines, *([f"made on a machine like this one: {', '.join(alike)}"] if alike else [])]


def _machine_table(machines: dict[str, Any]) -> "Table":
    from stages.shared.document import Table

    keys = list(dict.fromkeys(key for one in machines.values() for key in one))
    rows = [[key, *(str(one.get(key, "")) for one in machines.values())] for key in keys]
    heads = ["", "here", *(f"committed, {row}" for row in list(machines)[1:])]
    return Table("Where it was verified, and where the committed figures were made", heads, rows)


def table(report: Report) -> str:
    """Return the report for a terminal."""
    names = [tier.name for tier in report.tiers]
    grid = [["stage", *names, "verdict"]]
    for one in report.stages():
        verdicts = report.of(one.stage)
        grid.append([one.stage, *(str(verdicts.get(n, "")) for n in names), str(one.verdict)])
    grid.append(["seconds", *(f"{tier.seconds:.1f}" for tier in report.tiers), ""])
    widths = [max(len(row[at]) for row in grid) for at in range(len(grid[0]))]
    lines = [
        "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip()
        for row in grid
    ]
    lines += [
        f"{tier}, {one.stage}: {printable(one.said)}"
        for tier, one in report.saying(Verdict.OUTSIDE, Verdict.SAME, Verdict.BAND)
    ]
    if report.tiers[-1].name not in {"hashes", "metrics"}:
        lines += [
            f"not checked, {one.stage}: {printable(one.said)}"
            for one in report.stages()
            if one.verdict is Verdict.UNCHECKED
        ]
    lines += [f"note: {printable(one)}" for one in [*report.notes, *_told(report.machines)]]
    return "\n".join([*lines, report.line()])
