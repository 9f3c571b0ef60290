"""Tables on disk, read row by row: CSV in its dialects, compressed or not, and Parquet."""

import csv
import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import BufferedReader
from itertools import count, islice
from pathlib import Path
from typing import Literal, cast

from stages.core.errors import UserError
from stages.datasets.texts.faults import (
    CELLS,
    LINE_BREAK,
    NOT_TEXT,
    OPEN_QUOTE,
    QUOTE,
    TOO_LONG,
    Fault,
)

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
MAX_CHARACTERS = 1_000_000  # of a cell
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
_MAX_LINE = 16 * MAX_CHARACTERS  # bytes
_SAMPLED_LINES, _SAMPLED_CHARACTERS = 200, 4_000_000  # from which the separator is detected
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_GZIP, _PARQUET, _ZIP = b"\x1f\x8b", b"PAR1", b"PK\x03\x04"
_NOT_TEXT = re.compile("[\0\udc80-\udcff]")  # undecodable bytes are read as lone surrogates
_QUOTED = 12  # characters on each side of one that is quoted in a message


@dataclass(frozen=True)
class Row:
    """A row of a table; number 0 is the header.

    Attributes:
        number: its place among the rows, empty ones included, from 1.
        line: of the file, on which it begins; 0 in a Parquet file.
        cells: none where it has a fault.
        fault: what is wrong with the row as a whole.
    """

    number: int
    line: int
    cells: list[str]
    fault: Fault | None = None


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
        return _csv_rows(_lines(self.path), self.separator, self.quoted)


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
        return [_table(path, "", key, separator)]
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
        _table(files[split][0], split, key, separator) for split in SPLIT_NAMES if split in files
    ]


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
        with _opened(table.path) as file:
            digests[table.path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path and its permissions") from None


# The separator


def _table(path: Path, split: str, key: str, separator: str | None) -> Table:
    mark = _separator(path, key, separator)
    return Table(path, split, mark, quoted=mark != "\t" or not _has_plain_quotes(path))


def _has_plain_quotes(path: Path) -> bool:
    """Return whether double quotes are text in a file with tabs.

    Programs write such files without quoting. Then each line has as many tabs as the first, and a text
    may begin or end with a quote that has no counterpart.
    """
    tabs, plain = None, False
    for line in _lines(path):
        text = line.rstrip("\r\n")
        if not text:
            continue
        tabs = text.count("\t") if tabs is None else tabs
        if text.count("\t") != tabs:
            return False
        if '"' in text and not plain:
            plain = any(_is_plain(cell) for cell in text.split("\t"))
    return plain


def _is_plain(cell: str) -> bool:
    """Return whether a cell that begins with a double quote is not quoted as a whole."""
    inner = cell[1:-1].replace('""', "")
    return cell.startswith('"') and (len(cell) == 1 or not cell.endswith('"') or '"' in inner)


def _separator(path: Path, key: str, name: str | None) -> str | None:
    """Return the character that separates the cells of a file; None for a Parquet file."""
    with _opened(path) as file:
        start = file.read(len(_PARQUET))
    if start == _PARQUET:
        return None
    if start == _ZIP:
        raise UserError(
            f"{path}: a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV"
        )
    return SEPARATORS[name] if name else detect_separator(path, key)


def detect_separator(path: Path, key: str) -> str:
    """Return the separator that gives the header two columns or more, and the first rows as many.

    Where none does it is the comma; a .tsv file has tabs if these fit as well as another one.

    Raises:
        UserError: two fit equally, or the file cannot be read.
    """
    lines, characters = [], 0
    for line in islice(_lines(path), _SAMPLED_LINES):
        lines.append(line)
        characters += len(line)
        if characters > _SAMPLED_CHARACTERS:
            break
    shares = {}
    for separator in SEPARATORS.values():
        rows = list(_csv_rows(iter(lines), separator, quoted=True))
        widths = [len(row.cells) for row in rows if row.cells or row.fault]
        if widths and widths[0] > 1:
            shares[separator] = widths.count(widths[0]) / len(widths)
    best = [separator for separator, share in shares.items() if share == max(shares.values())]
    if "\t" in best and ".tsv" in path.name.lower():
        return "\t"
    if len(best) > 1:
        names = [name for name, separator in SEPARATORS.items() if separator in best]
        raise UserError(
            f"{path}: cells could be separated by {' or '.join(names)}: the header and the first rows "
            f"have as many of either; say which in {key}.separator"
        )
    return best[0] if best else ","


# CSV


def _csv_rows(lines: Iterator[str], separator: str, quoted: bool) -> Iterator[Row]:  # noqa: FBT001
    """Yield the rows, the header as number 0; a row that is not CSV has a fault and no cells."""
    csv.field_size_limit(MAX_CHARACTERS)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=separator, strict=True, quoting=quoting)
    for number in count():
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(number, line, [], _csv_fault(str(error), reader.line_num - line + 1))
            continue
        yield Row(number, line, cells, _text_fault(cells))


def _csv_fault(problem: str, lines: int) -> Fault:
    """Return the fault of a row that the CSV reader gave up after so many `lines`."""
    if "end of data" in problem or lines > 1:
        extent = "the end of the file" if "end of data" in problem else f"{lines} lines"
        return Fault(
            OPEN_QUOTE, f"a double quote that is not closed, or not doubled, spans {extent}"
        )
    if "field limit" in problem:
        return Fault(TOO_LONG, f"more than {MAX_CHARACTERS:,} characters in a cell")
    if "new-line" in problem:
        return Fault(LINE_BREAK, "a carriage return outside double quotes")
    return Fault(QUOTE, "text after a closing double quote")


def _text_fault(cells: list[str]) -> Fault | None:
    """Return the fault of a row with bytes that are no text, None for none."""
    for cell in cells:
        match = _NOT_TEXT.search(cell)
        if match:
            near = cell[max(0, match.start() - _QUOTED) : match.start() + _QUOTED]
            quoted = repr(near.encode("utf-8", "surrogateescape"))[1:]
            problem = "a NUL character" if match[0] == "\0" else "not UTF-8"
            return Fault(NOT_TEXT, f"{problem}: {quoted}; save the file as UTF-8 text")
    return None


def _lines(path: Path) -> Iterator[str]:
    """Yield the file's lines with their ends; bytes that are not UTF-8 become lone surrogates.

    A file that begins like a gzip file is decompressed, whatever its name.

    Raises:
        UserError: it is UTF-16, a line is longer than 16 MB, or compressed data are damaged.
    """
    with _opened(path) as raw:
        zipped = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        file = cast("BufferedReader", gzip.GzipFile(fileobj=raw)) if zipped else raw
        read: Callable[[], bytes] = lambda: file.readline(_MAX_LINE)  # noqa: E731 (iter calls it)
        try:
            for number, line in enumerate(iter(read, b""), start=1):
                if number == 1 and line.startswith(_UTF16_MARKS):
                    raise UserError(
                        f"{path}: line 1: not UTF-8 (the file looks like UTF-16); save the file as UTF-8"
                    )
                if len(line) == _MAX_LINE:
                    raise UserError(
                        f"{path}: line {number}: longer than {_MAX_LINE:,} bytes; it must be a table "
                        "with a row on each line"
                    )
                text = line.removeprefix(_UTF8_MARK) if number == 1 else line
                yield text.decode("utf-8", "surrogateescape")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(
                f"{path}: the compressed data are damaged or cut short ({error}); fetch the file again"
            ) from None


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
    except (arrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
