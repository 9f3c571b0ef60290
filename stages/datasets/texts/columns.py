"""Which columns of a table are its texts, labels, ids, groups and splits: by their headings and values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stages.core.errors import UserError
from stages.datasets.class_names import MAX_CLASSES

TEXT = (
    *("text", "review", "sentence", "content", "comment", "body", "message", "description"),
    *("question", "review_body", "review_text", "reviewtext", "utterance", "query", "tweet"),
    *("document", "article", "headline", "title"),
)
LABEL = (
    *("label", "labels", "sentiment", "class", "category", "target", "topic", "intent", "emotion"),
    *("polarity", "rating", "stars", "label_text", "label_name", "coarse_label", "label-coarse"),
)
ID = ("id", "uid", "uuid", "row_id", "text_id", "review_id", "question_id", "document_id")
GROUP = (
    *("group", "group_id", "author", "author_id", "user", "user_id", "customer", "customer_id"),
    *("reviewer", "reviewer_id", "product", "product_id", "writer", "speaker", "thread_id"),
)
SPLIT = ("split", "set", "subset", "partition", "part", "fold")
FEW_VALUES = 50  # of a column of labels that no heading shows, and of a slice
_ROWS_OF_VALUE = 5  # rows that a label has on average, at least
_MIN_GROUPS = 10


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
    def heading(self) -> str:
        """Return the name as headings are compared: in lower case, words joined by underscores."""
        return "_".join(self.name.lower().split())

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
        return max(self.values.values(), default=0) <= 1

    def add(self, cell: str) -> None:
        """Count the value of a row."""
        value = cell.strip()
        self.values[value] += 1
        self.characters += len(value)


@dataclass(frozen=True)
class Roles:
    """The columns of a table by what they hold; None where it has no such column.

    Attributes:
        label_by_heading: whether the heading shows the column of labels, not only its values.
        other_labels: further columns that may be the labels.
        slices: further columns with few values.
    """

    text: Column
    label: Column
    id: Column | None
    group: Column | None
    split: Column | None
    label_by_heading: bool
    other_labels: tuple[Column, ...]
    slices: tuple[Column, ...]


def assign_roles(
    columns: Sequence[Column],
    rows: int,
    split: Column | None,
    names_by_role: Mapping[str, str | None],
    source: str,
) -> Roles:
    """Return the columns by what they hold.

    The texts are in a column with a common heading (`TEXT`) and many different values, otherwise in the
    one with the longest values. The labels are in a column with a common heading (`LABEL`) and few
    different values, otherwise in the one with the fewest. Ids differ in each row; groups do not.

    Args:
        columns: of the sampled rows.
        rows: how many were sampled.
        split: the column of official splits.
        names_by_role: columns that the user names by their role: text, label, id, group; None for none.
        source: the file, for messages.

    Raises:
        UserError: a named column does not exist, no other can be of texts, or none of labels.
    """
    rest = {column.name: column for column in columns if not split or column.name != split.name}
    named = {
        role: _named_column(rest, role, name, source) if name is not None else None
        for role, name in names_by_role.items()
    }
    for name in {column.name for column in named.values() if column}:
        del rest[name]
    text = named.get("text") or _text_column(rest.values(), rows, source)
    rest.pop(text.name, None)
    candidates = [
        column
        for column in rest.values()
        if 2 <= column.distinct <= _limit(rows, MAX_CLASSES) and column.heading in LABEL  # noqa: PLR2004
    ]
    label = named.get("label") or _label_column(candidates, rest.values(), rows, source)
    rest.pop(label.name, None)
    complete = [column for column in rest.values() if column.complete]
    groups = [column for column in complete if not column.unique and column.distinct >= _MIN_GROUPS]
    optional = {
        "id": _first_with_heading([column for column in complete if column.unique], ID),
        "group": _first_with_heading(groups, GROUP),
    } | named
    few = [column for column in rest.values() if 2 <= column.distinct <= _limit(rows, FEW_VALUES)]  # noqa: PLR2004
    return Roles(
        text,
        label,
        optional["id"],
        optional["group"],
        split,
        "label" in named or label in candidates,
        () if "label" in named else tuple(column for column in candidates if column is not label),
        tuple(column for column in few if column is not optional["group"]),
    )


def _named_column(columns: Mapping[str, Column], role: str, name: str, source: str) -> Column:
    if name not in columns:
        raise UserError(
            f"{source}: given column {name!r} for {role}; the header has {', '.join(map(repr, columns))}"
        )
    return columns[name]


def _text_column(columns: Iterable[Column], rows: int, source: str) -> Column:
    few = _limit(rows, FEW_VALUES)
    texts = [column for column in columns if column.distinct > few]
    if not texts:
        raise UserError(f"{source}: no column of texts: each has at most {few} different values")
    return _first_with_heading(texts, TEXT) or max(texts, key=lambda column: column.characters)


def _label_column(
    candidates: Sequence[Column], columns: Iterable[Column], rows: int, source: str
) -> Column:
    few = _limit(rows, FEW_VALUES)
    labels = candidates or [column for column in columns if 2 <= column.distinct <= few]  # noqa: PLR2004
    if not labels:
        raise UserError(
            f"{source}: no column of labels: none has from 2 to {few} different values, the most that "
            f"{rows} rows allow without a heading such as label or category"
        )
    return _first_with_heading(candidates, LABEL) or min(labels, key=lambda column: column.distinct)


def _limit(rows: int, largest: int) -> int:
    return max(2, min(largest, rows // _ROWS_OF_VALUE))


def _first_with_heading(columns: Iterable[Column], headings: Sequence[str]) -> Column | None:
    """Return the column with the first of `headings` that a column has, None for none."""
    by_heading = {column.heading: column for column in columns}
    return next((by_heading[heading] for heading in headings if heading in by_heading), None)
