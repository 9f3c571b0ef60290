"""A survey of tables of texts, from which the params of a new task are proposed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import combinations
from pathlib import Path
from random import Random
from types import MappingProxyType

import numpy as np

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.core.schema import Columns
from stages.datasets.tables.csv_files import SEPARATORS, Row
from stages.datasets.tables.faults import FaultCount, FaultyRow
from stages.datasets.tables.reading import Table, find_tables, official_split
from stages.datasets.texts.columns import SPLIT, Column, Roles, assign_roles
from stages.datasets.texts.sources import class_names, read_samples

SAMPLE_SIZE = 20_000  # rows from which the columns are described, at most
_SAMPLE_CHARACTERS = 50_000_000  # of these rows, at most
_LONGEST_HEADING = 80
_QUANTILES = (0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class TableSurvey:
    """What tables of texts hold; of official test data only how many there are.

    Attributes:
        files: the file of each official split, or of "" where there is one file.
        separator: a key of `SEPARATORS`; None for Parquet.
        columns: of at most 20,000 rows without the test data.
        rows: how many these are.
        roles: what each column holds.
        classes: of the file, in order.
        counts: texts of each class, without the test data.
        groups: texts of each (group, class), without the test data; empty without a column of groups.
        official: rows of each official split; those of none under "".
        words: the quartiles of the texts' length in words, and the length that 95% do not exceed.
        faults: the rows that cannot be used, in all splits.
        remarks: what the user should check.
    """

    files: dict[str, str]
    separator: str | None
    columns: list[Column]
    rows: int
    roles: Roles
    classes: list[str]
    counts: Counter[str]
    groups: Counter[tuple[str, str]]
    official: Counter[str]
    words: list[int]
    faults: FaultCount
    remarks: list[str]


def survey_table(
    path: Path,
    key: str = "prepare",
    names_by_role: Mapping[str, str | None] = MappingProxyType({}),
    separator: str | None = None,
) -> TableSurvey:
    """Return what the table at `path`, or those of a folder with one for each split, hold.

    Args:
        path: of a file or a folder, as `tables.find_tables` takes it.
        key: of the section prepare, for messages and remarks: "tasks.reviews.prepare".
        names_by_role: columns that the user names by their role: text, label, id, group; None for none.
        separator: a key of `SEPARATORS`; None: detected.

    Raises:
        UserError: no such tables or named columns, no column of texts or of labels, no sound rows, or
            unsuitable classes.
    """
    tables = find_tables(path, key, separator)
    headings = _usable_headings(tables[0].path, tables[0].header())
    split = _split_column(tables[0], headings) if len(tables) == 1 else None
    columns, rows = _sample_columns(tables[0], headings, split)
    if not rows:
        raise UserError(_no_rows(tables[0], path))
    roles = assign_roles(columns, rows, split, names_by_role, str(path))
    if roles.label.name.strip() in roles.label.values:
        raise UserError(
            f"{tables[0].path}: the first line must name the columns; it seems to be a row, for "
            f"{roles.label.name!r} is also a label: write a line such as text,label above it"
        )
    row_counts = _count_rows(tables, _named(roles), key)
    row_counts.faults.check(str(path), key, "list" if row_counts.classes else "refuse")
    classes = class_names(row_counts.classes, roles.label.name, key)
    remarks = []
    if roles.group and "group" not in names_by_role and row_counts.groups_cross:
        remarks.append(
            f"{roles.group.name} is not taken for groups: some are in several official splits, and would "
            "go to one of them as a whole"
        )
        roles = replace(roles, group=None)
    remarks += _remarks(roles, row_counts, key)
    lengths = [len(value.split()) for value in roles.text.values.elements()]
    separators = {mark: name for name, mark in SEPARATORS.items()}
    return TableSurvey(
        {table.split: table.path.name for table in tables},
        separators.get(tables[0].separator or ""),
        columns,
        rows,
        roles,
        classes,
        row_counts.classes,
        row_counts.group_classes if roles.group else Counter(),
        row_counts.official,
        [max(1, round(value)) for value in np.quantile(lengths, _QUANTILES)],
        row_counts.faults,
        remarks,
    )


def _no_rows(table: Table, path: Path) -> str:
    """Return the message on a table without a sound row, with its first fault if it has any."""
    faults = (f" (row {row.number}: {row.fault})" for row in table.rows() if row.fault)
    return f"{path}: a header and no row to use{next(faults, '')}; each text needs a row with its label"


@dataclass
class _RowCounts:
    """The rows of all tables.

    Attributes:
        faults: the rows that cannot be used.
        classes: texts of each label, without the official test data.
        official: texts of each official split.
        groups: of each official split.
        group_classes: texts of each group and label, without the official test data.
    """

    faults: FaultCount
    classes: Counter[str] = field(default_factory=Counter)
    official: Counter[str] = field(default_factory=Counter)
    groups: dict[str, set[str]] = field(default_factory=dict)
    group_classes: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def groups_cross(self) -> bool:
        """Return whether a group is in two official splits."""
        return any(first & second for first, second in combinations(self.groups.values(), 2))


def _count_rows(tables: Sequence[Table], columns: Columns, key: str) -> _RowCounts:
    result = _RowCounts(FaultCount())
    samples = progress(read_samples(tables, columns, None, key), "reading texts")
    for sample in result.faults.watch(samples):
        if not isinstance(sample, FaultyRow):
            result.official[sample.split] += 1
            result.groups.setdefault(sample.split, set()).add(sample.group)
            if sample.split != "test":
                result.classes[sample.label] += 1
                result.group_classes[sample.group, sample.label] += 1
    return result


def _named(roles: Roles) -> Columns:
    optional = {
        role: column.name if column else None
        for role, column in (("id", roles.id), ("group", roles.group), ("split", roles.split))
    }
    return Columns(text=roles.text.name, label=roles.label.name, slices=[], **optional)


def _sample_columns(
    table: Table, headings: Mapping[int, str], split: Column | None
) -> tuple[list[Column], int]:
    """Return the columns of rows from all over a table, and how many rows these are.

    A row of official test data is passed over.
    """
    columns = {place: Column(name) for place, name in headings.items()}
    split_place = next(
        (place for place, name in headings.items() if split and name == split.name), None
    )
    usable = (
        row
        for row in progress(table.rows(), "looking at the table")
        if not row.fault
        and (split_place is None or official_split(row.cells[split_place]) != "test")
    )
    rows = _draw_rows(usable)
    for row in rows:
        for place, column in columns.items():
            column.add(row.cells[place])
    return list(columns.values()), len(rows)


def _draw_rows(rows: Iterable[Row]) -> list[Row]:
    """Return at most `SAMPLE_SIZE` of the rows, with `_SAMPLE_CHARACTERS` in all, drawn at random.

    Each row gets a random number, and those with the smallest numbers are kept.
    """
    random, limit = Random(0), 1.0  # noqa: S311 (the same rows each time)
    heap: list[tuple[float, int, Row]] = []
    characters = 0
    for row in rows:
        number = random.random()
        if number >= limit:
            continue
        heappush(heap, (-number, row.number, row))
        characters += sum(map(len, row.cells))
        while len(heap) > 1 and (len(heap) > SAMPLE_SIZE or characters > _SAMPLE_CHARACTERS):
            negative, _, dropped = heappop(heap)
            limit = -negative
            characters -= sum(map(len, dropped.cells))
    return sorted((row for _, _, row in heap), key=lambda row: row.number)


def _split_column(table: Table, headings: Mapping[int, str]) -> Column | None:
    """Return the column of official splits: each value of the whole table is one, or empty.

    It has held-out data, and others to train on.
    """
    columns = {place: Column(heading) for place, heading in headings.items()}
    columns = {place: column for place, column in columns.items() if column.heading in SPLIT}
    for row in progress(table.rows(), "looking for splits") if columns else ():
        for place in [place for place in columns if not row.fault]:
            if not row.cells[place].strip() or official_split(row.cells[place]):
                columns[place].add(row.cells[place])
            else:
                del columns[place]
        if not columns:
            break
    return next((column for column in columns.values() if _is_split(column)), None)


def _is_split(column: Column) -> bool:
    splits = {official_split(value) for value in column.values}
    return bool(splits & {"train", ""}) and bool(splits - {"train", ""})


def _usable_headings(path: Path, header: Sequence[str]) -> dict[int, str]:
    """Return the columns that a name tells apart, {place: heading}.

    Raises:
        UserError: there are fewer than two, or the first line looks like a row.
    """
    long = next((heading for heading in header if len(heading) > _LONGEST_HEADING), None)
    if long is not None:
        raise UserError(
            f"{path}: {long[:_LONGEST_HEADING]!r} cannot be the heading of a column; the first line "
            "must give each column a short name of its own"
        )
    usable = {
        place: heading
        for place, heading in enumerate(header)
        if heading.strip() and header.count(heading) == 1
    }
    if len(usable) < 2:  # noqa: PLR2004
        raise UserError(
            f"{path}: the header names {len(usable)} column{'' if len(usable) == 1 else 's'}; at least two "
            f"are needed, the texts and their labels, cells separated by {', '.join(SEPARATORS)}"
        )
    return usable


def _remarks(roles: Roles, row_counts: _RowCounts, key: str) -> Iterator[str]:
    label, official, faults = roles.label.name, row_counts.official, row_counts.faults
    if not roles.label_by_heading:
        yield f"check {key}.columns.label: {label} was chosen because it has few different values"
    if roles.other_labels:
        names = ", ".join(column.name for column in roles.other_labels)
        yield f"check {key}.columns.label: {label} was chosen; {names} may be labels too"
    if roles.group:
        yield (
            f"texts with the same {roles.group.name} are kept in one split; set {key}.columns.group: "
            "null if they are independent"
        )
    if official["test"]:
        yield f"{official['test']:,} rows are official test data and stay so; nothing here looks at them"
    if faults.counts:
        yield (
            f"{faults.counts.total():,} of {faults.rows:,} rows cannot be used: {faults.summary()}; "
            f"{key}.unreadable says whether they are left out"
        )
    if roles.slices:
        names = ", ".join(column.name for column in roles.slices)
        yield (
            f"further columns with few values: {names}; list them in {key}.columns.slices to see results "
            "by them"
        )
