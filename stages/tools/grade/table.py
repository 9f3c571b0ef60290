"""The grades of all submissions: for a terminal, as a table of data, as Markdown.

Whatever a learner has written is shown as text: on one line, without control characters, escaped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from stages.core.errors import printable
from stages.tools.grade.rows import Row, State, total, unread_rows
from stages.tools.grade.rubric import Rubric
from stages.tools.text_tables import align
from stages.tools.verify.batch.results import Result

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("criterion", "points", "evidence", "to judge")
_EVIDENCE = 220  # characters on a terminal; Markdown, CSV and JSON have all of it


@dataclass(frozen=True)
class Grade:
    """What a submission gets.

    Attributes:
        name: of the submission.
        repository: its path or URL, or that of its pull request.
        commit: that was graded, "" where none could be read.
        date: of the commit, as it says.
        line: the result of its verification, or why it could not be read.
        remarks: on its code, and what was left out.
        rows: one for each criterion.
        was_read: whether the submission could be read.
    """

    name: str
    repository: str
    commit: str
    date: str
    line: str
    remarks: Sequence[str]
    rows: Sequence[Row]
    was_read: bool

    def heading(self) -> str:
        """Return name, commit and points in one line."""
        commit = f", commit {self.commit[:12]} of {self.date}" if self.commit else ""
        return f"{self.name}{commit}: {_points(self.rows)}"


def make_grades(rubric: Rubric, results: Sequence[Result]) -> list[Grade]:
    """Return the grade of each result, with equal notes of several learners marked."""
    grades = [_make_grade(rubric, result) for result in results]
    authors: dict[tuple[str, str], list[str]] = {}
    for grade in grades:
        for row in grade.rows:
            if row.note:
                authors.setdefault((row.criterion, _words(row.note)), []).append(grade.name)
    return [_mark_copies(grade, authors) for grade in grades]


def _make_grade(rubric: Rubric, result: Result) -> Grade:
    report = result.report or {}
    rows = [Row(**row) for row in report.get("rows", [])]
    return Grade(
        result.name,
        result.entry.pr or result.entry.repository or "",
        str(report.get("revision", "")),
        str(report.get("date", "")),
        result.line,
        report.get("remarks", []),
        rows or unread_rows(rubric, result.line),
        result.report is not None,
    )


def _words(note: str) -> str:
    return " ".join(note.casefold().split())


def _mark_copies(grade: Grade, authors: dict[tuple[str, str], list[str]]) -> Grade:
    """Return a grade whose rows name the other learners with the same note."""
    rows = []
    for row in grade.rows:
        names = authors.get((row.criterion, _words(row.note)), []) if row.note else []
        copies = [name for name in names if name != grade.name]
        judge = f"The same words as {', '.join(copies)}." if copies else ""
        values = asdict(row) | {"judge": " ".join(filter(None, (judge, row.judge)))}
        if copies:
            values["state"] = str(State.OPEN)
        rows.append(Row(**values))
    return Grade(**{**vars(grade), "rows": rows})


def _points(rows: Sequence[Row]) -> str:
    points, open_points, worth = total(rows)
    judged = f", {open_points:g} more to judge" if open_points else ""
    return f"{points:g} of {worth:g} points{judged}"


def _cell(row: Row) -> str:
    """Return the points of a criterion: 2/2, 0/2, ?/3 where a person must judge."""
    return f"{'?' if row.state == State.OPEN else f'{row.points:g}'}/{row.worth:g}"


def text(rubric: Rubric, grades: Sequence[Grade]) -> str:
    """Return the grades for a terminal: each submission, then all of them in a table."""
    lines = [line for grade in grades for line in _grade_lines(grade)]
    lines += [
        f"{number}  {printable(criterion.name)} ({criterion.task})"
        for number, criterion in enumerate(rubric.criteria, 1)
    ]
    table = [list(map(printable, row)) for row in _summary(rubric, grades)]
    return "\n".join([*lines, "", *align(table, 1), "", summary_line(grades)])


def _grade_lines(grade: Grade) -> Iterator[str]:
    yield printable(grade.heading())
    yield f"  {printable(grade.line)}"
    yield from (f"  {printable(remark)}" for remark in grade.remarks)
    if grade.was_read:
        for row in grade.rows:
            yield f"  {_cell(row):>5}  {printable(row.criterion)}"
            if row.evidence:
                yield f"         {_cut(row.evidence)}"
            if row.judge:
                yield f"         judge: {printable(row.judge)}"
    yield ""


def _cut(evidence: str) -> str:
    line = printable(evidence)
    return line if len(line) <= _EVIDENCE else f"{line[:_EVIDENCE]}..."


def _summary(rubric: Rubric, grades: Sequence[Grade]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of all submissions, the header first."""
    numbers = [str(number) for number in range(1, 1 + len(rubric.criteria))]
    yield ("submission", "points", "to judge", "of", *numbers)
    for grade in grades:
        figures = (f"{value:g}" for value in total(grade.rows))
        cells = map(_cell, grade.rows) if grade.was_read else ("-" for _ in grade.rows)
        yield (grade.name, *figures, *cells)


def summary_line(grades: Sequence[Grade]) -> str:
    """Return how many submissions were graded, and how many could not be read."""
    unread = sum(not grade.was_read for grade in grades)
    count = f"{len(grades)} submission{'s' if len(grades) != 1 else ''}"
    waiting = sum(any(row.open_points for row in grade.rows) for grade in grades)
    judged = f", {waiting} with points that a person must judge" if waiting else ""
    return f"{count}{judged}{f', {unread} could not be read' if unread else ''}"


def data_table(grades: Sequence[Grade]) -> "pd.DataFrame":
    """Return a row for each submission and criterion, and one for the total of each submission."""
    import pandas as pd

    return pd.DataFrame([cells for grade in grades for cells in _data_rows(grade)])


def _data_rows(grade: Grade) -> Iterator[dict[str, str]]:
    """Yield the cells of each criterion, and of the total, by column."""
    common = {
        "submission": grade.name,
        "repository": grade.repository,
        "commit": grade.commit,
        "date": grade.date,
    }
    for row in grade.rows:
        yield {
            **common,
            "criterion": row.criterion,
            "task": row.task,
            "points": f"{row.points:g}",
            "to_judge": f"{row.open_points:g}",
            "of": f"{row.worth:g}",
            "state": row.state if grade.was_read else "not read",
            "evidence": row.evidence,
            "judge": row.judge,
        }
    points, open_points, worth = (f"{value:g}" for value in total(grade.rows))
    yield {
        **common,
        "criterion": "total",
        "task": "",
        "points": points,
        "to_judge": open_points,
        "of": worth,
        "state": "" if grade.was_read else "not read",
        "evidence": "; ".join([grade.line, *grade.remarks]),
        "judge": "",
    }


def markdown(rubric: Rubric, grades: Sequence[Grade]) -> str:
    """Return the grades as GitHub-flavoured Markdown: a table of all, then each submission."""
    from stages.report.formatting import markdown_table
    from stages.report.rendering import escape_markdown

    def escaped(cells: Sequence[str]) -> list[str]:
        return [escape_markdown(cell) for cell in cells]

    header, *rows = _summary(rubric, grades)
    numeric = range(1, len(header))
    parts = [
        f"# {escape_markdown(rubric.title)}",
        f"{escape_markdown(summary_line(grades))}.",
        "\n".join(
            f"{number}. {escape_markdown(criterion.name)} "
            f"({escape_markdown(criterion.task)}, {criterion.points:g})"
            for number, criterion in enumerate(rubric.criteria, 1)
        ),
        markdown_table(header, map(escaped, rows), numeric),
        "2/2: the check gives the points; ?/3: a person must judge; 0/2: not shown; -: could not be read.",
    ]
    for grade in grades:
        remarks = [grade.line, *grade.remarks]
        parts += [
            f"## {escape_markdown(grade.heading())}",
            "\n".join(f"- {escape_markdown(remark)}" for remark in remarks),
        ]
        if grade.was_read:
            cells = [(row.criterion, _cell(row), row.evidence, row.judge) for row in grade.rows]
            parts.append(markdown_table(_COLUMNS, map(escaped, cells), [1]))
    return "\n\n".join(parts) + "\n"


def data(rubric: Rubric, grades: Sequence[Grade]) -> dict[str, Any]:
    """Return the grades as JSON takes them."""
    return {
        "rubric": rubric.title,
        "submissions": [
            {
                **{key: value for key, value in vars(grade).items() if key != "rows"},
                **dict(zip(("points", "to_judge", "of"), total(grade.rows), strict=True)),
                "criteria": [
                    asdict(row) | {"points": row.points, "to_judge": row.open_points}
                    for row in grade.rows
                ],
            }
            for grade in grades
        ],
    }
