"""The results of a batch: one for each entry, as data, for a terminal and as a document."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.core.errors import printable
from stages.tools.verify.attestation.verifier import code_digest
from stages.tools.verify.batch.entries import Entry
from stages.tools.verify.conditions.condition import summarise_outcomes

if TYPE_CHECKING:
    import pandas as pd

    from stages.report.document import Document

COLUMNS = ("name", "repository", "revision", "commit", "verdict", "claims", "status", "seconds")
WORST_FIRST = (1, 2, 3, 0)  # exit statuses of one verification


@dataclass(frozen=True)
class Result:
    """The result of an entry.

    Attributes:
        name: of the entry.
        entry: as in the table.
        key: what the result depends on: commit, verifier, options.
        status: the exit status of its verification.
        seconds: that it took.
        line: the result in one line, or why there is no report.
        report: as data; None where it came to none.
        is_kept: whether it was read from the folder of results.
    """

    name: str
    entry: Entry
    key: dict[str, Any]
    status: int
    seconds: float
    line: str
    report: dict[str, Any] | None = None
    is_kept: bool = False

    def row(self) -> list[str]:
        """Return the cells of its row, by `COLUMNS`."""
        report = self.report or {}
        outcomes = [condition["outcome"] for condition in report.get("conditions", [])]
        return [
            self.name,
            self.entry.pr or self.entry.repository or "",
            "" if self.entry.pr else self.entry.revision,
            str(report.get("revision") or self.key.get("commit") or "")[:12],
            str(report.get("verdict", "no report")),
            summarise_outcomes(outcomes),
            str(self.status),
            f"{self.seconds:.0f}",
        ]

    def data(self) -> dict[str, Any]:
        """Return the result as JSON takes it; `read` reads it back."""
        return {
            "name": self.name,
            "entry": self.entry.model_dump(),
            "key": self.key,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "line": self.line,
            "report": self.report,
        }


def worst_status(results: Sequence[Result]) -> int:
    """Return the worst exit status: disagreement, then not checked, then code of its own, then none."""
    statuses = {result.status for result in results}
    return next(status for status in WORST_FIRST if status in statuses)


def text_table(results: Sequence[Result]) -> str:
    """Return the results for a terminal."""
    rows = [list(COLUMNS), *(list(map(printable, result.row())) for result in results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"{result.name}: {printable(result.line)}" for result in results if result.status]
    return "\n".join([*lines, summary_line(results)])


def summary_line(results: Sequence[Result]) -> str:
    """Return how many results have each exit status, in words."""
    words = {0: "nothing disagrees", 3: "with code of its own", 2: "not checked", 1: "disagrees"}
    statuses = [result.status for result in results]
    parts = [f"{statuses.count(key)} {word}" for key, word in words.items() if key in statuses]
    return f"{len(results)} results: {', '.join(parts)}"


def document(results: Sequence[Result]) -> "Document":
    """Return the results as a document, to be rendered as Markdown or as a page."""
    from stages.report.document import Document, Facts, Headline, Section
    from stages.report.document import Table as DocumentTable

    rows = [result.row() for result in results]
    table = DocumentTable("Every entry of the table", COLUMNS, rows, [7])
    facts = [
        (
            f"{result.name}: {condition['condition']}",
            f"{condition['outcome']}: {condition['reason']}",
        )
        for result in results
        for condition in (result.report or {}).get("conditions", [])
    ]
    return Document(
        "Verifications",
        Headline(summary_line(results)),
        f"Verifier: code {code_digest()[:12]}; {time.strftime('%Y-%m-%d', time.gmtime())}",
        [
            Section("results", "Results", [table]),
            Section("lines", "In one line", [Facts([(r.name, r.line) for r in results])]),
            *([Section("conditions", "Conditions", [Facts(facts)])] if facts else []),
        ],
    )


def data_table(results: Sequence[Result]) -> "pd.DataFrame":
    """Return the results as a table, with their lines."""
    import pandas as pd

    return pd.DataFrame(
        [[*result.row(), result.line] for result in results], columns=[*COLUMNS, "line"]
    )
