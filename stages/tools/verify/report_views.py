"""The report of a verification as a document, and for a terminal."""

from typing import TYPE_CHECKING

from stages.core.errors import printable
from stages.tools.verify.machines import Machines
from stages.tools.verify.report import Report, list_names
from stages.tools.verify.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from stages.report.document import Document, Table

_LONGEST = 2000  # characters of a line: names and values of a revision may have millions
_DISAGREEMENTS_OF_STAGE = 5  # disagreements of a stage on a terminal
_FOREIGN = (Verdict.SAME, Verdict.TOLERANCE)


def _line(text: str) -> str:
    """Return text on one line, without control characters, cut where it is too long to be read."""
    line = printable(text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _stage_rows(report: Report) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table of stages and tiers."""
    tiers = [tier.name for tier in report.tiers]
    rows = []
    for finding in report.stages():
        verdicts = report.by_tier(finding.stage)
        cells = (str(verdicts.get(tier, "")) for tier in tiers)
        rows.append([_line(finding.stage), *cells, str(finding.verdict)])
    return ["stage", *tiers, "verdict"], rows


def document(report: Report) -> "Document":
    """Return the report as a document, to be rendered as Markdown or as a page."""
    from stages.report.document import Document, Facts, Headline, Section, Table

    heads, rows = _stage_rows(report)
    outside = [
        (f"{_line(finding.stage)} ({tier})", _details(finding))
        for tier, finding in report.with_verdict(Verdict.OUTSIDE)
    ]
    excused = [
        (f"{_line(finding.stage)} ({tier})", _line(f"{finding.verdict}: {finding.reason}"))
        for tier, finding in report.with_verdict(*_FOREIGN)
    ]
    unchecked = [
        (_line(list_names(stages)), _line(reason)) for reason, stages in report.unchecked().items()
    ]
    code = [(item.change, _line(item.path)) for item in report.code]
    conditions = [
        (_line(item.name), _line(f"{item.outcome}: {item.reason}")) for item in report.conditions
    ]
    remarks = [("remark", _line(remark)) for remark in report.remarks]
    notes = [("note", _line(note)) for note in report.notes]
    result = [
        ("figures", _line(report.summary()[1].partition(": ")[2])),
        ("code", _line(report.summary()[2].partition(": ")[2])),
    ]
    seconds = [[tier.name, f"{tier.seconds:.1f}"] for tier in report.tiers]
    facts = (
        ("result", "Result", result),
        ("conditions", "What was asked for", conditions),
        ("outside", "What disagrees", outside),
        ("excused", "What differs and is excused", excused),
        ("unchecked", "Not checked", unchecked),
        ("code", "Code to read", code),
        ("remarks", "Look at", remarks),
    )
    sections = [
        *(Section(name, title, [Facts(entries)]) for name, title, entries in facts if entries),
        Section("stages", "Stages", [Table("By stage and tier", heads, rows)]),
        Section("cost", "Cost", [Table("Seconds by tier", ["tier", "seconds"], seconds, [1])]),
        Section("machines", "Machines", [_machine_table(report.machines)]),
        *([Section("notes", "Notes", [Facts(notes)])] if notes else []),
    ]
    name = f" ({report.name})" if report.name != report.revision else ""
    summary = _line(f"{report.repository} at {report.revision}{name}")
    return Document("Verification", Headline(_line(report.line())), summary, sections)


def _details(finding: Finding) -> str:
    """Return a disagreement in one paragraph."""
    if finding.disagreement is None:
        return _line(finding.reason)
    details = finding.disagreement.details()
    advice = f"It means: {details['it means']}. To do: {details['to do']}."
    return _line(f"{finding.reason}. {advice}")


def _machine_lines(machines: Machines) -> list[str]:
    """Return in words what this machine is, and which results were computed on another one."""
    properties = ", ".join(f"{key} {value}" for key, value in machines.host.items())
    lines = [f"verified on {properties}", *machines.other_machines()]
    same_machine = [task for task in machines.recorded if not machines.differences(task)]
    if same_machine:
        lines.append(f"computed on a machine like this one: {', '.join(same_machine)}")
    return lines


def _machine_table(machines: Machines) -> "Table":
    from stages.report.document import Table

    columns = {"this machine": machines.host, **machines.recorded}
    keys = dict.fromkeys(key for record in columns.values() for key in record)
    rows = [
        [_line(key), *(_line(str(record.get(key, ""))) for record in columns.values())]
        for key in keys
    ]
    caption = "Where it was verified, and where the committed results of each task were computed"
    return Table(caption, ["", *columns], rows)


def table(report: Report) -> str:
    """Return the report for a terminal: details first, the summary in the last three lines."""
    heads, stages = _stage_rows(report)
    seconds = ["seconds", *(f"{tier.seconds:.1f}" for tier in report.tiers), ""]
    rows = [heads, *stages, seconds]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += _disagreement_lines(report)
    lines += [
        f"{tier}, {_line(finding.stage)}: {finding.verdict}: {_line(finding.reason)}"
        for tier, finding in report.with_verdict(*_FOREIGN)
    ]
    lines += [
        f"not checked, {_line(list_names(names))}: {_line(reason)}"
        for reason, names in report.unchecked().items()
    ]
    lines += [f"code, {item.change}: {_line(item.path)}" for item in report.code[:_CODE_FILES]]
    lines += [
        f"{_line(item.name)}: {item.outcome}: {_line(item.reason)}" for item in report.conditions
    ]
    lines += [f"look at: {_line(remark)}" for remark in report.remarks]
    notes = [*report.notes, *_machine_lines(report.machines)]
    lines += [f"note: {_line(note)}" for note in notes]
    return "\n".join([*lines, "", *map(_line, report.summary())])


_CODE_FILES = 20


def _disagreement_lines(report: Report) -> list[str]:
    """Return each disagreement with its parts, once for all stages that share it.

    Of many in one stage and tier, only the first ones.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for tier, finding in report.with_verdict(Verdict.OUTSIDE):
        groups.setdefault((tier, finding.reason), []).append(finding)
    counts: dict[tuple[str, str], int] = {}
    lines, left_out = [], 0
    for (tier, _), findings in groups.items():
        first = findings[0]
        key = (tier, first.stage)
        counts[key] = counts.get(key, 0) + 1
        if counts[key] > _DISAGREEMENTS_OF_STAGE:
            left_out += 1
            continue
        stages = _line(list_names(dict.fromkeys(finding.stage for finding in findings)))
        lines.append(f"{tier}, {stages}: {_line(first.reason)}")
        details = first.disagreement.details() if first.disagreement else {}
        lines += [f"    {name:<10}  {_line(text)}" for name, text in details.items()]
    if left_out:
        lines.append(f"{left_out} more disagreements; --json FILE has them all")
    return lines
