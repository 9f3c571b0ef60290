"""Where texts come from: a table, or one for each split, with a text and a label in each row."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.control_characters import escape_controls
from stages.core.errors import EvidenceError, UserError
from stages.core.progress import progress
from stages.datasets.class_names import MAX_CLASSES, require_distinct
from stages.datasets.ledger import SourceNote
from stages.datasets.tables.faults import (
    ID,
    LABEL,
    NO_GROUP,
    NO_ID,
    NO_LABEL,
    NO_TEXT,
    SPLIT,
    Fault,
    FaultyRow,
    quote,
)
from stages.datasets.tables.reading import (
    Table,
    column_indices,
    digest,
    find_tables,
    official_split,
)

if TYPE_CHECKING:
    from stages.core.schema import Columns, PrepareTexts
    from stages.core.task import Task
    from stages.datasets.tables.csv_files import Row

REVIEWS = SourceNote(
    origin="short reviews written for this repository by a large language model, one by one, to "
    "rules fixed beforehand: most in a literary voice, some plain, as people type them (column "
    "register); no customer wrote them, and no product named in them exists "
    "(data/raw/sentiment/README.md)",
    licence="CC0 1.0 (public domain)",
    label_rules="positive: taken as a whole, the writer clearly recommends or praises the thing "
    "reviewed; negative: clearly complains of it or rejects it; the meaning counts, not the wording",
    limits={
        "Not real reviews": "the literary ones are tidier and wittier than what customers write, with "
        "far more sarcasm and other devices; the plain ones (slips of spelling, fragments, slang, "
        "emoji, ratings) come closer, and are fewer; one writer wrote all of them, so accuracy on "
        "real reviews may differ"
    },
)
EMBEDDED_SHA256 = {  # of reviews.csv and hard.csv
    "74ad4a30ded3dff760f812cf1a4c07dcf157c3b6274e91107746246a01b68cc1",
    "fc9a6201d5a88994faf84dccdafd3d459c61205ec303d0a3f04f02d39cf13dfc",
}
_WHOLE_NUMBER = re.compile(r"(-?\d+)\.0+")


@dataclass(frozen=True)
class TextSample:
    """A text from a source.

    Attributes:
        name: its id; "row-" and the number of its row where the params name no such column.
        text: as written, without white space at the ends.
        label: its class, by name.
        group: its group, "" where the source has no groups.
        slices: its values in the columns by which results are sliced.
        split: "train", "validation" or "test" where the source gives it one, or "".
    """

    name: str
    text: str
    label: str
    group: str
    slices: tuple[str, ...]
    split: str = ""


@dataclass(frozen=True)
class _Refusal:
    """Why a row is no sample, with its class and official split where they are known, "" otherwise."""

    fault: Fault
    label: str
    split: str


def source_tables(task: "Task") -> list[Table]:
    """Return the tables that the params name.

    Raises:
        UserError: there are none, or a folder has a file for each split while the params name a column
            of splits too.
    """
    params: PrepareTexts = task.params.prepare
    path, key = Path(params.path), task.key("prepare")
    if not path.exists():
        raise UserError(f"{key}.path: {path}: no such file or folder")
    tables = find_tables(path, key, params.separator)
    if params.columns.split and any(table.split for table in tables):
        raise UserError(
            f"{key}.columns.split: given {params.columns.split!r}, but {path} has a file for each "
            "split; set it to null, or name one file"
        )
    return tables


def source_note(task: "Task", tables: Sequence[Table]) -> SourceNote:
    """Return the dataset note's entries on the tables, with their SHA-256.

    Raises:
        UserError: one cannot be read, or `source: reviews` is set and it holds other bytes.
    """
    params: PrepareTexts = task.params.prepare
    path, sha256 = Path(params.path), digest(tables)
    if params.source == "reviews":
        if sha256 not in EMBEDDED_SHA256:
            key = task.key("prepare.source")
            raise EvidenceError(
                f"{key}: given 'reviews', but {path} has SHA-256 {sha256} and is not one of the "
                "embedded files, so the dataset note would name a wrong origin; set "
                f"{key}: csv for your own texts, or restore it with `git checkout -- {path}`"
            )
        note = REVIEWS
    else:
        files = f"the file {path.name}"
        if path.is_dir():
            files = f"the files {' and '.join(table.path.name for table in tables)} of {path.name}"
        note = SourceNote(
            origin=f"{files}, column {params.columns.text!r}",
            licence="as the owner of the file states",
            label_rules=f"as in the file's column {params.columns.label!r}",
        )
    return replace(note, raw_sha256=sha256)


def read_samples(
    tables: Sequence[Table], columns: "Columns", classes: Sequence[str] | None, key: str
) -> Iterator[TextSample | FaultyRow]:
    """Yield the texts of the tables in order, and in its place each row that cannot be used.

    Only one row is in memory at a time, beside the ids. Where an id is in several tables, each begins
    with the name of its file.

    Args:
        tables: as `source_tables` returns them.
        columns: of the tables.
        classes: which labels may be; None: any.
        key: of the section prepare, for messages: "tasks.reviews.prepare".

    Raises:
        UserError: a file cannot be read, or lacks a column.
    """
    places: dict[str, str] = {}
    indices = [_column_indices(table, columns, key) for table in tables]
    alike = columns.id is not None and _number_alike(tables, indices, columns.id)
    for table, table_indices in zip(tables, indices, strict=True):
        prefix = f"{table.stem}-" if table.split else ""
        for row in table.rows():
            name, location = f"{prefix}row-{row.number}", _location(row, table)
            sample = _sample(row, name, table_indices, table.split, columns, classes)
            if isinstance(sample, TextSample) and columns.id is not None:
                sample = replace(sample, name=f"{prefix}{sample.name}") if alike else sample
                first = places.setdefault(sample.name, location)
                if first is not location:
                    fault = Fault(ID, f"{quote(sample.name)} is also that of {first}")
                    sample = _Refusal(fault, sample.label, sample.split)
            if isinstance(sample, TextSample):
                yield sample
            else:
                yield FaultyRow(name, location, sample.label, sample.fault, sample.split)


def _location(row: "Row", table: Table) -> str:
    return f"{table.path.name} {row.location}" if table.split else row.location


def _column_indices(table: Table, columns: "Columns", key: str) -> dict[str, int]:
    """Return the index of each of the columns, by its name.

    Raises:
        UserError: one is missing, or the header has it twice.
    """
    roles = ("text", "label", "id", "group", "split")
    names = {f"{key}.columns.{role}": getattr(columns, role) for role in roles}
    names |= {f"{key}.columns.slices[{place}]": name for place, name in enumerate(columns.slices)}
    hint = ""
    if table.split == "test" and columns.label not in table.header():
        hint = "; test data need labels: move the file elsewhere to draw test data from the others"
    return column_indices(table, {param: name for param, name in names.items() if name}, hint)


def _number_alike(
    tables: Sequence[Table], indices: Sequence[Mapping[str, int]], column: str
) -> bool:
    """Return whether an id is in two of the tables, as where each numbers its rows from 0."""
    earlier: set[str] = set()
    for table, places in zip(tables, indices, strict=True):
        rows = progress(table.rows(), "comparing ids")
        ids = {row.cells[places[column]].strip() for row in rows if not row.fault} - {""}
        if earlier & ids:
            return True
        earlier |= ids
    return False


def _sample(
    row: "Row",
    name: str,
    indices: Mapping[str, int],
    split: str,
    columns: "Columns",
    classes: Sequence[str] | None,
) -> "TextSample | _Refusal":
    """Return a row as a sample, or why it is none; an empty cell of splits means: not divided."""
    if row.fault:
        return _Refusal(row.fault, "", split)

    def cell(column: str | None) -> str:
        return "" if column is None else row.cells[indices[column]].strip()

    text = cell(columns.text)
    group, identifier = escape_controls(cell(columns.group)), escape_controls(cell(columns.id))
    label = class_name(cell(columns.label), classes)
    recognised_label = label if classes is None or label in classes else ""
    if columns.split is not None:
        split = official_split(cell(columns.split))
    rules = (
        (NO_LABEL, not label, ""),
        (LABEL, not recognised_label, label),
        (NO_TEXT, not text, ""),
        (NO_GROUP, columns.group is not None and not group, ""),
        (NO_ID, columns.id is not None and not identifier, ""),
        (SPLIT, bool(cell(columns.split)) and not split, cell(columns.split)),
    )
    for kind, broken, value in rules:
        if broken:
            return _Refusal(Fault(kind, quote(value) if value else ""), recognised_label, split)
    slices = tuple(escape_controls(row.cells[indices[column]]) for column in columns.slices)
    return TextSample(identifier or name, text, label, group, slices, split)


# Classes


def class_name(label: str, classes: Sequence[str] | None = None) -> str:
    """Return the class of a label: itself, or 1 for 1.0, which is how some programs write it.

    Control characters are written as escapes.

    Args:
        label: of a row.
        classes: those of the params; one that is written 1.0 stays so.
    """
    label = escape_controls(label)
    number = _WHOLE_NUMBER.fullmatch(label)
    return number[1] if number and label not in (classes or ()) else label


def class_names(labels: Iterable[str], column: str, key: str) -> list[str]:
    """Return the classes of a file, numbers in their order, other labels in that of the alphabet.

    Args:
        labels: of all rows, as `class_name` returns them.
        column: in which they stand.
        key: of the section prepare: "tasks.reviews.prepare".

    Raises:
        UserError: there are fewer than 2, more than 1,000, or two that look alike or are the same number.
    """
    names = set(labels)
    if not 2 <= len(names) <= MAX_CLASSES:  # noqa: PLR2004
        raise UserError(
            f"{key}.columns.label: column {column!r} has {len(names):,} different labels; a "
            f"classification needs 2 to {MAX_CLASSES:,}: name the column of the labels"
        )
    remedy = f"write both alike, or list them in {key}.classes if they are two classes"
    require_distinct(names, f"column {column!r}", remedy)
    by_value: dict[float, str] = {}
    for name in sorted(names):
        value = _number(name)
        if value is not None and by_value.setdefault(value, name) != name:
            raise UserError(
                f"column {column!r}: the classes {by_value[value]!r} and {name!r} are the same number; "
                f"{remedy}"
            )
    return sorted(names, key=_class_order)


def _class_order(name: str) -> tuple[float, str]:
    """Return a key that sorts numbers first, by value."""
    number = _number(name)
    return (float("inf") if number is None else number, name)


def _number(name: str) -> float | None:
    return float(name) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)", name, re.ASCII) else None
