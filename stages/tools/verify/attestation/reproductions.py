"""evidence/reproductions: the statements of those who have reproduced a result, and a table of them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.files import write
from stages.tools.verify.attestation.signing import signature_path
from stages.tools.verify.attestation.statement import Statement, read_statement, write_statement
from stages.tools.verify.code import CODE

FOLDER = Path("evidence/reproductions")
PAGE = "README.md"
_RECORDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_HASH_LENGTH = 12
_COLUMNS = (
    "commit",
    "repository",
    "by",
    "date",
    "verdict",
    "tiers",
    "machine",
    "signed",
    "statement",
)
_INTRODUCTION = """# Reproductions

Who has verified a result of this repository or of another one, on which machine, with what verdict.
`evidence attestation table` writes this page from the statements beside it; `evidence attestation check`
checks the signature and the digests of one. How to add yours:
[docs/verify.md](../../docs/verify.md#a-result-that-can-be-handed-on).
"""


def require_who(name: str) -> str:
    """Return the name of who records a reproduction, which is part of a file's name.

    Raises:
        UserError: it has other characters, or too many.
    """
    if not _RECORDER.fullmatch(name):
        raise UserError(
            f"--record: given {name!r}; must be at most 40 letters, digits, dots, dashes and underscores"
        )
    return name


def reproductions_folder(folder: Path) -> Path:
    """Return where reproductions are kept: in the repository at `folder`, else in the verifier's own."""
    return (folder if (folder / ".dvc").is_dir() else CODE) / FOLDER


def record(folder: Path, statement: Mapping[str, Any], commit: str, recorder: str) -> Path:
    """Write a statement into the folder of reproductions, and its table; return the statement's path.

    Args:
        folder: of the reproductions.
        statement: of the verification.
        commit: that was verified.
        recorder: who has verified it.
    """
    path = folder / f"{commit[:_HASH_LENGTH]}-{recorder}.json"
    write_statement(path, statement)
    write_table(folder)
    return path


def write_table(folder: Path) -> Path:
    """Write the table of the statements in a folder; return its path."""
    path = folder / PAGE
    write(path, table(folder))
    return path


def table(folder: Path) -> str:
    """Return the table of the statements in a folder, as Markdown; all text in them is escaped."""
    from stages.report.formatting import markdown_table
    from stages.report.rendering import escape_markdown

    rows = [_row(path) for path in sorted(folder.glob("*.json"))]
    if not rows:
        return f"{_INTRODUCTION}\nNone is recorded yet.\n"
    cells = ([escape_markdown(cell) for cell in row] for row in sorted(rows, key=_order))
    return f"{_INTRODUCTION}\n{markdown_table(_COLUMNS, cells)}\n"


def _order(row: list[str]) -> tuple[str, ...]:
    return (row[3], *row)


def _row(path: Path) -> list[str]:
    try:
        statement = read_statement(path)
    except UserError:
        return ["", "", "", "", "no statement", "", "", "", path.name]
    return [*_cells(statement), "yes" if signature_path(path).is_file() else "no", path.name]


def _cells(statement: Statement) -> list[str]:
    evidence = statement.predicate.evidence
    machine, tiers = evidence.get("machine"), evidence.get("tiers")
    return [
        statement.commit[:_HASH_LENGTH],
        _text(evidence.get("repository")),
        _text(evidence.get("who")),
        _text(evidence.get("date")),
        f"{_text(evidence.get('verdict'))} ({statement.predicate.result})",
        ", ".join(map(_text, tiers)) if isinstance(tiers, dict) else "",
        _text(machine.get("processor")) if isinstance(machine, dict) else "",
    ]


def _text(value: Any) -> str:
    """Return a text of a statement that is not too long for a cell, "" for anything else."""
    return value[:200] if isinstance(value, str) else ""
