"""CSV files in their dialects, compressed or not, read row by row."""

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import count, islice
from pathlib import Path
from typing import Literal, cast

from stages.core.errors import UserError
from stages.datasets.tables.faults import LINE_BREAK, NOT_TEXT, OPEN_QUOTE, QUOTE, TOO_LONG, Fault

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
MAX_CHARACTERS = 1_000_000  # of a cell
_MAX_LINE = 16 * MAX_CHARACTERS  # bytes
_SAMPLED_LINES, _SAMPLED_CHARACTERS = 200, 4_000_000  # from which the separator is detected
_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_GZIP = b"\x1f\x8b"
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

    @property
    def location(self) -> str:
        """Return where the row is, for messages: "row 7 (line 9)"."""
        return f"row {self.number}" + (f" (line {self.line})" if self.line else "")


def open_bytes(path: Path) -> BufferedReader:
    """Open a file for reading its bytes.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check the path and its permissions") from None


def detect_separator(path: Path, param: str) -> str:
    """Return the separator that gives the header two columns or more, and the first rows as many.

    Where none does it is the comma; a .tsv file has tabs if these fit as well as another one.

    Args:
        path: of the file.
        param: with which the user says the separator, for messages: "tasks.reviews.prepare.separator".

    Raises:
        UserError: two fit equally, or the file cannot be read.
    """
    lines, characters = [], 0
    for line in islice(read_lines(path), _SAMPLED_LINES):
        lines.append(line)
        characters += len(line)
        if characters > _SAMPLED_CHARACTERS:
            break
    shares = {}
    for separator in SEPARATORS.values():
        rows = list(csv_rows(iter(lines), separator, quoted=True))
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
            f"have as many of either; say which in {param}"
        )
    return best[0] if best else ","


def has_plain_quotes(path: Path) -> bool:
    """Return whether double quotes are text in a file with tabs.

    Programs write such files without quoting. Then each line has as many tabs as the first, and a text
    may begin or end with a quote that has no counterpart.
    """
    tabs, plain = None, False
    for line in read_lines(path):
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


def csv_rows(lines: Iterator[str], separator: str, quoted: bool) -> Iterator[Row]:  # noqa: FBT001
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
        yield Row(number, line, cells, text_fault(cells))


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


def text_fault(cells: list[str]) -> Fault | None:
    """Return the fault of a row with bytes that are no text, None for none."""
    if not _NOT_TEXT.search("".join(cells)):
        return None
    for cell in cells:
        match = _NOT_TEXT.search(cell)
        if match:
            near = cell[max(0, match.start() - _QUOTED) : match.start() + _QUOTED]
            quoted = repr(near.encode("utf-8", "surrogateescape"))[1:]
            problem = "a NUL character" if match[0] == "\0" else "not UTF-8"
            return Fault(NOT_TEXT, f"{problem}: {quoted}; save the file as UTF-8 text")
    return None


def read_lines(path: Path) -> Iterator[str]:
    """Yield the file's lines with their ends; bytes that are not UTF-8 become lone surrogates.

    A file that begins like a gzip file is decompressed, whatever its name.

    Raises:
        UserError: it is UTF-16, a line is longer than 16 MB, or compressed data are damaged.
    """
    with open_bytes(path) as raw:
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
