"""Where texts come from: a CSV file with a text and a label in each row, read row by row."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.packing import Origin
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.schema import Columns, PrepareTexts

REVIEWS = Origin(
    origin="short reviews written for this repository by a large language model, one by one, to "
    "rules fixed beforehand; no customer wrote them, and no product named in them exists "
    "(data/raw/sentiment/README.md)",
    licence="CC0 1.0 (public domain)",
    label_rules="positive: taken as a whole, the writer clearly recommends or praises the thing "
    "reviewed; negative: clearly complains of it or rejects it; what is meant counts, not what is "
    "said",
)
EMBEDDED = {  # reviews.csv and hard.csv, by their bytes
    "276bd97a7364c8e55d23cb01af7914eed9d9005847e9676aabe8cd310c46d07a",
    "b1ebaa7e9280de82797069bebccb4e1c551932dd64e4278bc7f50fb0f35c1d57",
}
NOT_EMBEDDED = "is none of the embedded files, and the note would name a wrong origin"
LONGEST = 1_000_000  # characters of a text
_SHOWN = 60


@dataclass(frozen=True)
class Passage:
    """One text from a source.

    Attributes:
        name: its id; the number of its row where the file has no such column.
        text: as written, without blanks at its ends.
        label: its class, by name.
        group: what it shares with others, "" where the source does not know.
        slices: its values in the columns by which results are shown.
    """

    name: str
    text: str
    label: str
    group: str
    slices: tuple[str, ...]


def origin(params: "PrepareTexts") -> Origin:
    """Return what the dataset note says of the file that the params name, with its SHA-256.

    Raises:
        Refusal: it cannot be read, or is said to hold the embedded reviews and holds other bytes.
    """
    path = Path(params.path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refusal(f"sentiment.prepare.path: {path}: {error.strerror}") from None
    if params.source == "reviews":
        if digest not in EMBEDDED:
            raise Refusal(
                f"sentiment.prepare.source: given 'reviews', but {path} has SHA-256 {digest} and "
                f"{NOT_EMBEDDED}; set source: csv for texts of your own, or get it back with "
                f"`git checkout -- {path}`"
            )
        note = REVIEWS
    else:
        note = Origin(
            origin=f"the file {path.name}, column {params.columns.text!r}",
            licence="as the owner of the file states",
            label_rules=f"as the file's column {params.columns.label!r} gives it",
        )
    return Origin(note.origin, note.licence, note.label_rules, digest)


def passages(params: "PrepareTexts") -> Iterator[Passage]:
    """Yield the file's texts in order; a million of them never lie in memory together.

    Raises:
        Refusal: the file is not UTF-8 or not CSV, lacks a column, or a row has an empty or an
            endless text, or a label that is none of the classes; the line names file and row.
    """
    path, columns = Path(params.path), params.columns
    rows = _rows(path)
    where, header = next(rows, ("", []))
    if not where:
        raise Refusal(f"{path}: the file is empty; it must have a header and rows")
    places = _places(path, header, columns)
    known: dict[str, int] = {}
    for number, (where, row) in enumerate(rows, start=1):
        if not row:
            continue  # an empty line
        if len(row) != len(header):
            raise Refusal(
                f"{where}: given {len(row)} cells, the header has {len(header)}; put a text that "
                "holds a comma or a line break in double quotes"
            )
        passage = _passage(row, number, places, params, where)
        if columns.id is not None and known.setdefault(passage.name, number) < number:
            raise Refusal(
                f"{where}: the id {passage.name[:_SHOWN]!r} is that of row {known[passage.name]} "
                "too; give each row its own, or set columns.id: null"
            )
        yield passage


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield where each row stands, for messages, and its cells; the header first, as row 0.

    Raises:
        Refusal: a row is no CSV.
    """
    csv.field_size_limit(LONGEST)
    rows = csv.reader(_lines(path), strict=True)
    for number in count():
        begins = rows.line_num + 1
        where = f"{path}: row {number} (line {begins})" if number else f"{path}: the header"
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            where = where.replace("(line", "(from line")
            raise Refusal(
                f"{where}: {error}; it must be CSV with double quotes closed, and no text longer than "
                f"{LONGEST:,} characters"
            ) from None
        yield where, row


def _lines(path: Path) -> Iterator[str]:
    """Yield the file's lines as text, their ends as they are."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                kind = "UTF-16" if number == 1 and line[:2] in {b"\xff\xfe", b"\xfe\xff"} else None
                raise Refusal(
                    f"{path}: line {number}: byte {error.start + 1} is not UTF-8"
                    f"{f' (the file looks like {kind})' if kind else ''}; save the file as UTF-8"
                ) from None
            if "\0" in text:
                raise Refusal(
                    f"{path}: line {number}: holds a NUL character; it must be plain text"
                )
            yield text


def _places(path: Path, header: list[str], columns: "Columns") -> dict[str, int]:
    wanted = [columns.text, columns.label, columns.id, columns.group, *columns.slices]
    for name in wanted:
        if name is None:
            continue
        if header.count(name) != 1:
            problem = "is missing" if name not in header else "stands there more than once"
            raise Refusal(
                f"{path}: column {name!r} {problem}; the header has "
                f"{', '.join(map(repr, header))[:500]} (name the columns in "
                "sentiment.prepare.columns)"
            )
    return {name: header.index(name) for name in wanted if name is not None}


def _passage(
    row: list[str], number: int, places: dict[str, int], params: "PrepareTexts", where: str
) -> Passage:
    columns = params.columns
    text, label = row[places[columns.text]].strip(), row[places[columns.label]].strip()
    if not text:
        raise Refusal(f"{where}: the text is empty; give it one, or take the row out")
    if label not in params.classes:
        shown = label if len(label) <= _SHOWN else label[:_SHOWN] + "..."
        raise Refusal(
            f"{where}: given label {shown!r}; must be one of {', '.join(params.classes)} "
            "(sentiment.prepare.classes)"
        )
    group = "" if columns.group is None else row[places[columns.group]].strip()
    if columns.group is not None and not group:
        raise Refusal(
            f"{where}: the group is empty; every row needs one, or set "
            "sentiment.prepare.columns.group: null"
        )
    name = f"row-{number}" if columns.id is None else row[places[columns.id]].strip()
    if not name:
        raise Refusal(f"{where}: the id is empty; give it one, or set columns.id: null")
    return Passage(name, text, label, group, tuple(row[places[one]] for one in columns.slices))
