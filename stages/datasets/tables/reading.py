"""Tables on disk, read row by row: CSV in its dialects, compressed or not, and Parquet."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from stages.core.errors import UserError
from stages.datasets.tables.csv_files import (
    SEPARATORS,
    Row,
    csv_rows,
    detect_separator,
    has_plain_quotes,
    open_bytes,
    read_lines,
)
from stages.datasets.tables.faults import CELLS, Fault

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_MAX_HEADER = 500  # characters of a header that a message quotes
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"


@dataclass(frozen=True)
class Table:
    """A table on disk.

    Attributes:
        path: of the file.
        split: the official split that its name says: train, validation, test; "" for none.
        separator: the character between cells; None in a Parquet file.
        quoted: whether double quotes enclose cells; otherwise they are text like any other.
    """

    path: Path
    split: str
    separator: str | None
    quoted: bool = True

    @property
    def stem(self) -> str:
        """Return the file's name without its endings."""
        return self.path.name.partition(".")[0]

    def header(self) -> list[str]:
        """Return the names of the columns.

        Raises:
            UserError: the file is empty, or its header is no text or has a quote out of place.
        """
        header = next(self._rows(), None)
        if header is None:
            raise UserError(f"{self.path}: the file is empty; it must have a header and rows")
        if header.fault:
            raise UserError(f"{self.path}: the header: {header.fault.detail}")
        return header.cells

    def rows(self) -> Iterator[Row]:
        """Yield the rows after the header, without the empty ones.

        Raises:
            UserError: the file cannot be read, or is damaged.
        """
        rows = self._rows()
        width = len(next(rows).cells)
        for row in rows:
            if row.fault is None and len(row.cells) != width:
                if row.cells:
                    detail = f"given {len(row.cells)} cells, the header has {width}"
                    yield Row(row.number, row.line, [], Fault(CELLS, detail))
                continue
            yield row

    def _rows(self) -> Iterator[Row]:
        if self.separator is None:
            return _parquet_rows(self.path)
        return csv_rows(read_lines(self.path), self.separator, self.quoted)


def column_indices(table: Table, columns: Mapping[str, str], hint: str = "") -> dict[str, int]:
    """Return the index of each column, by its name.

    Args:
        table: in which they are.
        columns: the param that names each: "tasks.reviews.prepare.columns.text" -> "review".
        hint: what else can be done where one is missing; may be empty.

    Raises:
        UserError: one is missing, or the header has it twice.
    """
    header = table.header()
    problems = [
        f"{param}: column {name!r} {'occurs twice' if name in header else 'is missing'}"
        for param, name in columns.items()
        if header.count(name) != 1
    ]
    if problems:
        raise UserError(
            f"{table.path}: {'; '.join(problems)}; the header has "
            f"{', '.join(map(repr, header))[:_MAX_HEADER]}{hint}"
        )
    return {name: header.index(name) for name in columns.values()}


def find_tables(path: Path, key: str, separator: str | None = None) -> list[Table]:
    """Return the table at `path`, or those of a folder with a file for each official split.

    In a folder `train.*`, `validation.*` (val, valid, dev) and `test.*` count, in any case; the one
    for training data is required. Other files are not read.

    Args:
        path: of a file or a folder.
        key: of the section prepare, for messages: "tasks.reviews.prepare".
        separator: a key of `SEPARATORS`; None: detected in each file.

    Raises:
        UserError: the path cannot be read, a split has no file or several, or no separator or several
            fit.
    """
    if not path.is_dir():
        return [open_table(path, f"{key}.separator", separator)]
    files: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        split = official_split(file.name.lower().partition(".")[0])
        if split and file.name.lower().endswith(SUFFIXES) and file.is_file():
            files.setdefault(split, []).append(file)
    for split, paths in files.items():
        if len(paths) > 1:
            raise UserError(
                f"{path}: {' and '.join(file.name for file in paths)} would both be the {split} data; "
                "leave one of them in the folder"
            )
    if "train" not in files:
        raise UserError(
            f"{path}: no file of training data; {key}.path must name a table, or a folder with "
            f"train.* and perhaps validation.* and test.* ({', '.join(SUFFIXES)})"
        )
    return [
        open_table(files[split][0], f"{key}.separator", separator, split)
        for split in SPLIT_NAMES
        if split in files
    ]


def open_table(path: Path, param: str, separator: str | None = None, split: str = "") -> Table:
    """Return the table in one file.

    Args:
        path: of the file.
        param: with which the user says the separator, for messages.
        separator: a key of `SEPARATORS`; None: detected.
        split: the official split that the file holds, "" for none.

    Raises:
        UserError: the file cannot be read, or no separator or several fit.
    """
    mark = _separator(path, param, separator)
    return Table(path, split, mark, quoted=mark != "\t" or not has_plain_quotes(path))


def official_split(name: str) -> str:
    """Return the split that a file's or a cell's text names in any case, "" for none."""
    word = name.strip().lower()
    return next((split for split, names in SPLIT_NAMES.items() if word in names), "")


def digest(tables: Sequence[Table]) -> str:
    """Return the SHA-256 of a table's file; of several, that of the lines "digest  name".

    Raises:
        UserError: a file cannot be read.
    """
    digests = {}
    for table in tables:
        with open_bytes(table.path) as file:
            digests[table.path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _separator(path: Path, param: str, name: str | None) -> str | None:
    """Return the character that separates the cells of a file; None for a Parquet file."""
    with open_bytes(path) as file:
        start = file.read(len(_PARQUET))
    if start == _PARQUET:
        return None
    if start == _ZIP:
        raise UserError(
            f"{path}: a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV"
        )
    return SEPARATORS[name] if name else detect_separator(path, param)


# Parquet


def _parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, the header as number 0; a null is an empty cell.

    Raises:
        UserError: the package pyarrow is not installed, or the file is damaged.
    """
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise UserError(
            f"{path}: a Parquet file needs the package pyarrow, which is not installed; install it "
            "(`uv pip install pyarrow`), or save the table as CSV"
        ) from None
    try:
        file = parquet.ParquetFile(path)
        yield Row(0, 0, list(file.schema_arrow.names))
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield Row(number, 0, ["" if value is None else str(value) for value in values])
    except (arrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
