"""Verify: from a clean clone, say whether a committed result can be believed, stage by stage.

`python -m stages.verify [REV]` verifies a revision of this repository, `--repo` another one. Four tiers,
cheapest first: hashes (files, dvc.lock, dvc.yaml, params), metrics (computed again from the predictions
in git), predictions (from the weights), retrain (everything, forced). This work tree, its lock, cache and
refs are not touched. Exit status: 0 nothing disagrees, 1 something does, 2 something could not be checked.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.shared.files import as_json, read_json, write
from stages.shared.refusal import REFUSED, Refusal, printable, refusing
from stages.shared.verifying.band import FILE as BAND
from stages.shared.verifying.band import Band
from stages.shared.verifying.scratch import cloned, git, scratch
from stages.shared.verifying.verdicts import STORED, Finding, Verdict, summed, worst

if TYPE_CHECKING:
    from stages.shared.document import Document
    from stages.shared.verifying.locked import Locked

TIERS = ("hashes", "metrics", "predictions", "retrain")
OUTSIDE = 1
KINDS = ("json", "markdown", "page")


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


def verify(
    source: str,
    revision: str,
    *,
    last: str = TIERS[-1],
    only: Sequence[str] = (),
    remote: str = "",
    tolerance: float = 0.0,
    said: Callable[[str], None] = lambda _: None,
) -> Report:
    """Verify a revision in a clean clone, which is gone afterwards.

    Args:
        source: the path or URL of a git repository with DVC.
        revision: as git names it.
        last: the dearest tier to run.
        only: stages, or rows (`image`), to hold to; all where empty.
        remote: the DVC remote to take weights and data from; "" for this machine's cache of `source`,
            or the repository's default remote.
        tolerance: by which metrics may differ where the repository has no measured band.
        said: is told what is going on.

    Raises:
        Refusal: there is nothing that could be verified.
    """
    from stages.shared.verifying import locked, recomputed, rerun

    start = time.perf_counter()
    with scratch() as folder:
        commit = cloned(source, revision, folder / "clone")
        local = Path(source)  # its name alone: a report may be published
        report = Report(local.resolve().name if local.is_dir() else source, commit, last)
        root = folder / "clone"
        rerun.settled(root)
        found = locked.Locked.read(root, only)
        grid = recomputed.rows(found)
        cache = "" if remote else rerun.cache_of(source)
        report.machines = _machines(root, grid)
        report.notes += _notes(source, commit, found, grid)
        band, doubts = _band(root, grid, tolerance)
        report.notes += doubts
        if grid and last != "hashes":
            rerun.sourced(found, remote, cache)
        everything: dict[str, Callable[[], list[Finding]]] = {
            "hashes": lambda: [
                *locked.findings(found),
                *(recomputed.of_grid(found) if grid else []),
            ],
            "metrics": lambda: recomputed.findings(found),
            "predictions": lambda: rerun.from_weights(found, band, remote, cache),
            "retrain": lambda: rerun.from_nothing(found, band, remote, cache),
        }
        for name in TIERS[: TIERS.index(last) + 1]:
            if not grid and name in {"metrics", "predictions"}:
                continue
            said(f"{name} ...")
            findings = [one for one in everything[name]() if one.stage in found.asked]
            now = time.perf_counter()  # the first tier's cost is that of the clone too
            report.tiers.append(Tier(name, now - start, findings))
            start = now
        return report


def _machines(root: Path, grid: Sequence[str]) -> dict[str, Any]:
    from stages.params import FILE, load
    from stages.shared.runtime import machine, machine_here

    there = {}
    # What is wrong with a pack or with params is for the tiers to say.
    for row in grid:
        with suppress(Refusal, TypeError, ValueError):
            there[row] = dict(read_json(_data(root, row) / "machine.json"))
    here = machine_here()
    with suppress(Refusal):
        here = machine(load(root / FILE).runtime) if grid else here
    return {"here": here, **there}


def _data(root: Path, row: str) -> Path:
    return root / "evidence" / row / "data"


def _band(root: Path, grid: Sequence[str], tolerance: float) -> tuple[Band, list[str]]:
    """Return the committed band, without the rows whose figures it is not of; and why they are left out."""
    try:
        band = Band.read(root / BAND, tolerance)
    except Refusal as refusal:
        return Band(tolerance=tolerance), [f"{refusal}; it excuses nothing"]
    rows, doubts = dict(band.rows), []
    for row in grid:
        with suppress(Refusal):
            if not band.is_of(row, read_json(_data(root, row) / "metrics.json")):
                rows[row] = {}
                doubts.append(
                    f"{BAND} was measured of other figures of {row}; it excuses nothing there"
                )
    return Band(rows, tolerance), doubts


def _notes(source: str, commit: str, found: "Locked", grid: Sequence[str]) -> list[str]:
    notes = []
    if Path(source).is_dir():
        changed = git(Path(source), "status", "--porcelain")
        if changed:
            count = len(changed.split("\n"))
            notes.append(f"{count} uncommitted changes are not looked at; {commit[:10]} is")
    if not grid:
        notes.append("no evidence pack of this project: tiers metrics and predictions are left out")
    outside = [
        f"{name} reads {dep.def_path}"
        for name, stage in found.stages.items()
        for dep in stage.deps
        if dep.protocol == "local" and not Path(dep.fs_path).is_relative_to(found.root)
    ]
    notes += [f"{one}, which lies outside the repository" for one in outside]
    return notes


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


def _machine_table(machines: dict[str, Any]) -> Any:
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


def main() -> None:
    """Verify, print the table, write what is asked for, and exit with the status."""
    parser = argparse.ArgumentParser(prog="python -m stages.verify", description=__doc__)
    parser.add_argument("revision", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument(
        "--repo", default=".", help="path or URL of a git repository with DVC (default: .)"
    )
    parser.add_argument("--tier", choices=TIERS, default=TIERS[-1], help="the dearest one to run")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="stages, or rows (image)"
    )
    parser.add_argument("--remote", default="", help="DVC remote to take weights and data from")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="for metrics of a repository without a band"
    )
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}", type=Path, metavar="FILE", help=f"write the report as {kind}"
        )
    given = parser.parse_args()
    with refusing("verify"):
        if not 0 <= given.tolerance < math.inf:
            raise Refusal(f"--tolerance: given {given.tolerance:g}; must be a number, 0 or more")
        wanted = {kind: path for kind in KINDS if (path := getattr(given, kind))}
        for kind, path in wanted.items():  # now, not after minutes of work
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise Refusal(f"--{kind}: given {path}; must be a file in a folder that is there")
        report = verify(
            given.repo,
            given.revision,
            last=given.tier,
            only=given.only,
            remote=given.remote,
            tolerance=given.tolerance,
            said=lambda line: print(f"verify: {line}", file=sys.stderr),
        )
        from stages.shared.document import markdown, page

        print(table(report))
        made: dict[str, Callable[[], str | bytes]] = {
            "json": lambda: as_json(report.data()),
            "markdown": lambda: markdown(document(report)),
            "page": lambda: page(document(report), 5),
        }
        for kind, path in wanted.items():
            try:
                write(path, made[kind]())
            except OSError as error:
                raise Refusal(f"--{kind}: {path}: {error.strerror}") from None
    raise SystemExit(report.status())


if __name__ == "__main__":
    main()
