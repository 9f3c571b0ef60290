"""A table in any format: its header, and its rows with the cells of the columns that are needed."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.errors import UserError
from stages.datasets.tables import json_files, reading
from stages.datasets.tables.csv_files import Row, csv_rows
from stages.datasets.tables.faults import CELLS, Fault

SUFFIXES = (*reading.SUFFIXES, *json_files.SUFFIXES)


@dataclass(frozen=True)
class TableSource:
    """A table to read.

    Attributes:
        name: of the file, for messages.
        header: the names of the columns.
        select: yields the rows with the cells of the given columns; may be called once.
    """

    name: str
    header: Sequence[str]
    select: Callable[[Sequence[str]], Iterator[Row]]


def open_source(path: Path, separator: str | None = None) -> TableSource:
    """Return the table in a file: JSON by its name, Parquet by its first bytes, otherwise CSV.

    Args:
        path: of the file, compressed with gzip or not.
        separator: between the cells of CSV: comma, semicolon, tab; None: detected.

    Raises:
        UserError: it cannot be read, is empty, or several separators fit.
    """
    if path.name.lower().endswith(json_files.SUFFIXES):
        content = json_files.JsonTable(path)
        return TableSource(str(path), content.header(), content.select)
    table = reading.open_table(path, "--separator", separator)
    header = table.header()
    return TableSource(str(path), header, lambda columns: _select(header, table.rows(), columns))


def csv_source(name: str, text: str) -> TableSource:
    """Return the table in the text of a CSV file with commas.

    Raises:
        UserError: it is empty.
    """
    rows = csv_rows(iter(io.StringIO(text, newline="")), ",", quoted=True)
    header = next(rows, None)
    if header is None:
        raise UserError(f"{name}: the file is empty; it must have a header and rows")
    return TableSource(name, header.cells, lambda columns: _select(header.cells, rows, columns))


def _select(header: Sequence[str], rows: Iterator[Row], columns: Sequence[str]) -> Iterator[Row]:
    indices = [header.index(column) for column in columns]
    for row in rows:
        if row.fault:
            yield row
        elif len(row.cells) == len(header):
            yield Row(row.number, row.line, [row.cells[index] for index in indices])
        elif row.cells:
            detail = f"given {len(row.cells)} cells, the header has {len(header)}"
            yield Row(row.number, row.line, [], Fault(CELLS, detail))
