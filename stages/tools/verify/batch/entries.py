"""The table of a batch: repositories, revisions and claims, from a YAML or CSV file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from stages.core.errors import UserError
from stages.core.params import read_yaml, validate
from stages.core.schema import Name, Section
from stages.tools.verify.conditions.claim import parse_claim
from stages.tools.verify.pull_request import parse_url

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$"
_SEPARATOR = ";"  # of the claims in a cell of a CSV file


class Entry(Section):
    """A row of the table.

    Attributes:
        repository: the path or URL of a git repository; a path is relative to the table's folder.
        pr: the URL of a pull or merge request, instead of repository and revision.
        revision: as git names it.
        claims: that must hold.
        name: of the entry; absent: the last part of the repository's name, with a number if it is taken.
    """

    repository: Name | None = None
    pr: Name | None = None
    revision: Name = "HEAD"
    claims: list[Name] = Field(default_factory=list)
    name: Annotated[str, Field(pattern=_NAME)] | None = None


def read_table(path: Path) -> dict[str, Entry]:
    """Return the entries of a table by name, in their order.

    Raises:
        UserError: it is missing or no table, a key or value is wrong, or two entries have one name.
    """
    is_csv = path.suffix.lower() in {".csv", ".tsv"}
    rows = _csv_rows(path) if is_csv else read_yaml(path)
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: must be a list of entries, each with a repository")
    entries = []
    for place, row in enumerate(rows):
        entries.append(validate(Entry, row, Path(f"{path}: entries[{place}]")))
    for place, entry in enumerate(entries):
        key = f"{path}: entries[{place}]"
        if (entry.repository is None) == (entry.pr is None):
            raise UserError(f"{key}: must have either repository or pr")
        for text in entry.claims:
            parse_claim(text, f"{key}.claims")
        if entry.pr is not None:
            parse_url(entry.pr, f"{key}.pr")
    return name_entries(entries, path)


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file; an empty cell is none, claims are separated by semicolons."""
    from stages.datasets.tables.reading import open_table

    table = open_table(path, "the separator", "tab" if path.suffix.lower() == ".tsv" else "comma")
    header = table.header()
    rows = []
    for row in table.rows():
        if row.fault:
            raise UserError(f"{path}: {row.location}: {row.fault}")
        cells = {name.strip(): cell.strip() for name, cell in zip(header, row.cells, strict=True)}
        values: dict[str, Any] = {name: cell for name, cell in cells.items() if cell}
        if "claims" in values:
            claims = (claim.strip() for claim in values["claims"].split(_SEPARATOR))
            values["claims"] = [claim for claim in claims if claim]
        rows.append(values)
    return rows


def name_entries(entries: Sequence[Entry], path: Path) -> dict[str, Entry]:
    """Return entries by name, those without a name by one that is free.

    Args:
        entries: in their order.
        path: of their table, for messages.

    Raises:
        UserError: two have one name.
    """
    used_names = {entry.name for entry in entries if entry.name}
    named: dict[str, Entry] = {}
    for entry in entries:
        name = entry.name or _default_name(entry, {*used_names, *named})
        if name in named:
            raise UserError(f"{path}: two entries are called {name!r}; give each a name of its own")
        named[name] = entry
    return named


def _default_name(entry: Entry, used_names: set[str | None]) -> str:
    """Return a name that is free: the last part of the repository's, of a request with its number."""
    if entry.pr:
        request = parse_url(entry.pr)
        text = f"{request.repository}-{request.ref.split('/')[2]}".replace(".git-", "-")
    else:
        text = str(entry.repository)
    stem = text.rstrip("/").removesuffix("/.git").removesuffix(".git")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.split(r"[/:]", stem)[-1]).strip(".-_") or "entry"
    names = [stem, *(f"{stem}-{number}" for number in range(2, len(used_names) + 3))]
    return next(name for name in names if name not in used_names)
