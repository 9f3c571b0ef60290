"""A survey of a table of texts, from which the params of a new task are proposed."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import quantiles

from stages.core.errors import UserError
from stages.datasets.texts.sources import read_rows

SAMPLE_SIZE = 20_000  # rows from which the columns are described
_LONGEST_HEADING = 80


@dataclass
class Column:
    """A column of the sampled rows.

    Attributes:
        name: its heading.
        values: how often each value occurs.
        characters: the total length of its values.
    """

    name: str
    values: Counter[str] = field(default_factory=Counter)
    characters: int = 0

    @property
    def distinct(self) -> int:
        """Return the number of different values, without the empty one."""
        return len(self.values) - ("" in self.values)

    @property
    def complete(self) -> bool:
        """Return whether no value is empty."""
        return "" not in self.values

    @property
    def unique(self) -> bool:
        """Return whether no value occurs twice."""
        return max(self.values.values()) == 1


@dataclass(frozen=True)
class TableSurvey:
    """The columns of a table, and the number of sampled rows."""

    columns: list[Column]
    rows: int


def survey_table(path: Path) -> TableSurvey:
    """Return the columns of a CSV or TSV file with a header.

    Raises:
        UserError: it is not such a file, or has no rows.
    """
    rows = read_rows(path)
    _, header = next(rows, ("", []))
    _check_header(path, header)
    columns = [Column(heading) for heading in header]
    count = 0
    for location, cells in islice(rows, SAMPLE_SIZE):
        if not cells:
            continue
        _check_cells(location, cells, header)
        count += 1
        for column, cell in zip(columns, cells, strict=True):
            value = cell.strip()
            column.values[value] += 1
            column.characters += len(value)
    if not count:
        raise UserError(f"{path}: a header and no rows; each text needs a row with its label")
    return TableSurvey(columns, count)


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) < 2:  # noqa: PLR2004
        hint = ", cells separated by commas (tabs in a .tsv file)"
        raise UserError(
            f"{path}: the header names {len(header)} column; at least two are needed, the texts and their "
            f"labels{hint}"
        )
    for heading in header:
        if header.count(heading) > 1 or not heading.strip() or len(heading) > _LONGEST_HEADING:
            raise UserError(
                f"{path}: {heading[:_LONGEST_HEADING]!r} cannot be the heading of a column; the first line "
                "must give each column a short name of its own"
            )


def _check_cells(location: str, cells: list[str], header: list[str]) -> None:
    if len(cells) != len(header):
        raise UserError(
            f"{location}: given {len(cells)} cells, the header has {len(header)}; put a text that contains "
            "the separator or a line break in double quotes"
        )


def count_labels(path: Path, text: str, label: str) -> Counter[str]:
    """Return the number of texts of each label in the whole file.

    Raises:
        UserError: a row has no text or no label, or too few or too many cells.
    """
    rows = read_rows(path)
    _, header = next(rows)
    indices = {name: header.index(name) for name in (text, label)}
    counts: Counter[str] = Counter()
    for location, cells in rows:
        if not cells:
            continue
        _check_cells(location, cells, header)
        for name, index in indices.items():
            if not cells[index].strip():
                raise UserError(
                    f"{location}: column {name!r} is empty; fill it in, or remove the row"
                )
        counts[cells[indices[label]].strip()] += 1
    return counts


def word_quartiles(column: Column) -> list[int]:
    """Return the distinct quartiles of a column's lengths in words."""
    words = [len(value.split()) for value in column.values.elements()]
    if len(words) < 2:  # noqa: PLR2004
        words *= 2
    return sorted({max(1, round(quartile)) for quartile in quantiles(words, n=4)})
