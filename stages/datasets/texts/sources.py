"""Where texts come from: a CSV or TSV file with a text and a label in each row, read row by row."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import EvidenceError, UserError
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import PrepareTexts
    from stages.core.task import Task

REVIEWS = SourceNote(
    origin="short reviews written for this repository by a large language model, one by one, to "
    "rules fixed beforehand; no customer wrote them, and no product named in them exists "
    "(data/raw/sentiment/README.md)",
    licence="CC0 1.0 (public domain)",
    label_rules="positive: taken as a whole, the writer clearly recommends or praises the thing "
    "reviewed; negative: clearly complains of it or rejects it; the meaning counts, not the wording",
)
EMBEDDED_SHA256 = {  # of reviews.csv and hard.csv
    "276bd97a7364c8e55d23cb01af7914eed9d9005847e9676aabe8cd310c46d07a",
    "b1ebaa7e9280de82797069bebccb4e1c551932dd64e4278bc7f50fb0f35c1d57",
}
MAX_CHARACTERS = 1_000_000  # of a text
_MAX_QUOTED = 60  # characters of a cell that a message quotes
_MAX_HEADER = 500  # characters of a header that a message quotes
_SEPARATOR_NAMES = {",": "comma", "\t": "tab"}
_UTF16_MARKS = {b"\xff\xfe", b"\xfe\xff"}


@dataclass(frozen=True)
class TextSample:
    """A text from a source.

    Attributes:
        name: its id; "row-" and the number of its row where the params name no such column.
        text: as written, without white space at the ends.
        label: its class, by name.
        group: its group, "" where the source has no groups.
        slices: its values in the columns by which results are sliced.
    """

    name: str
    text: str
    label: str
    group: str
    slices: tuple[str, ...]


def source_note(task: "Task") -> SourceNote:
    """Return the dataset note's entries on the file that the params name, with its SHA-256.

    Raises:
        UserError: it cannot be read, or `source: reviews` is set and it holds other bytes.
    """
    params: PrepareTexts = task.params.prepare
    path = Path(params.path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{task.key('prepare.path')}: {path}: {error.strerror}") from None
    if params.source == "reviews":
        if digest not in EMBEDDED_SHA256:
            key = task.key("prepare.source")
            raise EvidenceError(
                f"{key}: given 'reviews', but {path} has SHA-256 {digest} and is not one of the "
                "embedded files, so the dataset note would name a wrong origin; set "
                f"{key}: csv for your own texts, or restore it with `git checkout -- {path}`"
            )
        note = REVIEWS
    else:
        note = SourceNote(
            origin=f"the file {path.name}, column {params.columns.text!r}",
            licence="as the owner of the file states",
            label_rules=f"as in the file's column {params.columns.label!r}",
        )
    return SourceNote(note.origin, note.licence, note.label_rules, digest)


def read_samples(task: "Task") -> Iterator[TextSample]:
    """Yield the file's texts in order; only one of them is in memory at a time.

    Raises:
        UserError: the file is not UTF-8 or not CSV, lacks a column, or a row has an empty or too long
            text, or a label that is not one of the classes; the line names file and row.
    """
    params: PrepareTexts = task.params.prepare
    path = Path(params.path)
    rows = read_rows(path)
    location, header = next(rows, ("", []))
    if not location:
        raise UserError(f"{path}: the file is empty; it must have a header and rows")
    indices = _column_indices(path, header, task)
    row_of_id: dict[str, int] = {}
    for number, (location, cells) in enumerate(rows, start=1):
        if not cells:
            continue  # an empty line
        if len(cells) != len(header):
            raise UserError(
                f"{location}: given {len(cells)} cells, the header has {len(header)}; put a text that "
                f"contains a {_SEPARATOR_NAMES[_separator(path)]} or a line break in double quotes"
            )
        sample = _sample(cells, number, location, indices, task)
        if params.columns.id is not None and row_of_id.setdefault(sample.name, number) < number:
            raise UserError(
                f"{location}: the id {sample.name[:_MAX_QUOTED]!r} is also that of row "
                f"{row_of_id[sample.name]}; give each row its own id, or set "
                f"{task.key('prepare.columns.id')}: null"
            )
        yield sample


def read_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each row's location, for messages, and its cells; the header first.

    Cells are separated by tabs in a file whose name ends in .tsv, by commas in any other.

    Raises:
        UserError: a row is not CSV.
    """
    csv.field_size_limit(MAX_CHARACTERS)
    rows = csv.reader(_lines(path), delimiter=_separator(path), strict=True)
    for number in count():
        line = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            row = f"row {number} (from line {line})" if number else "the header"
            raise UserError(
                f"{path}: {row}: {error}; it must be CSV with every double quote closed, and no text "
                f"longer than {MAX_CHARACTERS:,} characters"
            ) from None
        yield f"{path}: row {number} (line {line})" if number else f"{path}: the header", cells


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _lines(path: Path) -> Iterator[str]:
    """Yield the file's lines as text, with their line ends.

    Raises:
        UserError: a line is not UTF-8, or contains a NUL character.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                utf16 = number == 1 and line[:2] in _UTF16_MARKS
                raise UserError(
                    f"{path}: line {number}: byte {error.start + 1} is not UTF-8"
                    f"{' (the file looks like UTF-16)' if utf16 else ''}; save the file as UTF-8"
                ) from None
            if "\0" in text:
                raise UserError(
                    f"{path}: line {number}: contains a NUL character; it must be plain text"
                )
            yield text


def _column_indices(path: Path, header: list[str], task: "Task") -> dict[str, int]:
    """Return the index of each column that the params name.

    Raises:
        UserError: one is missing, or the header has it twice.
    """
    columns = task.params.prepare.columns
    names = [columns.text, columns.label, columns.id, columns.group, *columns.slices]
    required = [name for name in names if name is not None]
    for name in required:
        if header.count(name) != 1:
            problem = "is missing" if name not in header else "occurs more than once"
            raise UserError(
                f"{path}: column {name!r} {problem}; the header has "
                f"{', '.join(map(repr, header))[:_MAX_HEADER]} (name the columns in "
                f"{task.key('prepare.columns')})"
            )
    return {name: header.index(name) for name in required}


def _sample(
    cells: list[str], number: int, location: str, indices: dict[str, int], task: "Task"
) -> TextSample:
    """Return a row as a sample.

    Raises:
        UserError: its text, id or group is empty, or its label is not one of the classes.
    """
    params: PrepareTexts = task.params.prepare
    columns = params.columns

    def cell(name: str) -> str:
        return cells[indices[name]].strip()

    text, label = cell(columns.text), cell(columns.label)
    if not text:
        raise UserError(f"{location}: the text is empty; write one, or remove the row")
    if label not in params.classes:
        quoted = label if len(label) <= _MAX_QUOTED else label[:_MAX_QUOTED] + "..."
        raise UserError(
            f"{location}: given label {quoted!r}; must be one of {', '.join(params.classes)} "
            f"({task.key('prepare.classes')})"
        )
    group = "" if columns.group is None else cell(columns.group)
    name = f"row-{number}" if columns.id is None else cell(columns.id)
    if columns.group is not None and not group:
        raise UserError(
            f"{location}: the group is empty; every row needs one, or set "
            f"{task.key('prepare.columns.group')}: null"
        )
    if not name:
        raise UserError(
            f"{location}: the id is empty; every row needs one, or set "
            f"{task.key('prepare.columns.id')}: null"
        )
    slices = tuple(cells[indices[column]] for column in columns.slices)
    return TextSample(name, text, label, group, slices)
