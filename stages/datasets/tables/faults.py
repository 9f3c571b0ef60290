"""Rows of a table that cannot be used: all are counted, and told in one line."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from stages.core.errors import UserError
from stages.datasets.problem_kinds import ProblemKinds

CELLS, QUOTE, OPEN_QUOTE = "wrong number of cells", "text after a quote", "open quote"
LINE_BREAK, NOT_TEXT, TOO_LONG = "stray carriage return", "not UTF-8 text", "too long"
NO_TEXT, NO_LABEL, LABEL = "empty text", "empty label", "unknown label"
NO_ID, ID, NO_GROUP, SPLIT = "empty id", "repeated id", "empty group", "unknown split"

# What can be done about a kind, beside correcting or removing the rows.
_REMEDIES = {
    CELLS: "put a text that contains the separator or a line break in double quotes",
    QUOTE: "double each double quote inside a quoted text",
    OPEN_QUOTE: "close each double quote, for nothing after it can be told apart",
    LINE_BREAK: "put a text that contains a line break in double quotes",
    NOT_TEXT: "save the file as UTF-8",
    LABEL: "list every label in {key}.classes (they are {classes}), or null for those of the file",
    NO_ID: "set {key}.columns.id: null to number the rows",
    ID: "set {key}.columns.id: null to number the rows",
    NO_GROUP: "set {key}.columns.group: null",
    SPLIT: "write train, validation or test in {key}.columns.split's column",
}
_MOST_LISTED = (
    0.1  # share of rows that are left out unasked; if there are more, the form may be misread
)
_LONGEST_LIST = 200  # characters of the classes that the line names

_MAX_QUOTED = 60  # characters of a cell that a message quotes


class SplitSample(Protocol):
    """A sample of a table."""

    @property
    def split(self) -> str:
        """Return the official split, "" for none."""


Sample = TypeVar("Sample", bound=SplitSample)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a row.

    Attributes:
        kind: one of this module's constants.
        detail: what the row has, for messages; may be empty.
    """

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


def quote(cell: str) -> str:
    """Return a cell in quotation marks, for messages; of a long one its beginning."""
    return repr(cell if len(cell) <= _MAX_QUOTED else cell[:_MAX_QUOTED] + "...")


@dataclass(frozen=True)
class FaultyRow:
    """A row that cannot be used.

    Attributes:
        name: under which it is listed: "row-7".
        location: for messages: "row 7 (line 9)".
        label: its class where that is known, "" otherwise.
        fault: what is wrong with it.
        split: its official split where that is known, "" otherwise.
    """

    name: str
    location: str
    label: str
    fault: Fault
    split: str = ""


@dataclass(kw_only=True)
class FaultCount(ProblemKinds):
    """The faulty rows of a table by kind, and the first ones of each.

    Attributes:
        rows: how many rows were read, sound ones included.
        sound_splits: the official splits that have a row to use.
        faulty_splits: those that have a faulty row.
    """

    rows: int = 0
    sound_splits: set[str] = field(default_factory=set)
    faulty_splits: set[str] = field(default_factory=set)

    def watch(self, rows: Iterable[Sample | FaultyRow]) -> Iterator[Sample | FaultyRow]:
        """Yield `rows` as they are, and count them."""
        for row in rows:
            self.rows += 1
            if isinstance(row, FaultyRow):
                self.add(row)
            else:
                self.sound_splits.add(row.split)
            yield row

    def add(self, row: FaultyRow) -> None:
        """Count a faulty row."""
        detail = row.fault.detail
        self.faulty_splits.add(row.split)
        self.count(row.fault.kind, f"{row.location}: {detail}" if detail else row.location)

    def summary(self) -> str:
        """Return the number of faulty rows of each kind, the most frequent first."""
        return ", ".join(f"{count} {kind}" for kind, count in self.counts.most_common())

    def check(
        self,
        source: str,
        key: str,
        unreadable: Literal["list", "refuse"] | None,
        classes: Sequence[str] | None = None,
    ) -> None:
        """Refuse the table, unless its faulty rows may be left out.

        Rows after a quote that is never closed are never left out: nothing shows how many they are. Nor
        are all rows of an official split, for other data would be drawn in their place.

        Args:
            source: the file or folder, for the message.
            key: of the section prepare: "tasks.reviews.prepare".
            unreadable: the param; None leaves out at most a tenth of the rows.
            classes: which labels may be; None: any.

        Raises:
            UserError: with the counts and the first rows of each kind, in one line.
        """
        allowed = unreadable == "list" or (
            unreadable is None and self.counts.total() <= _MOST_LISTED * self.rows
        )
        lost = sorted(self.faulty_splits - self.sound_splits - {""})
        if not self.counts or (allowed and not lost and not self.counts[OPEN_QUOTE]):
            return
        names = ", ".join(classes or ())
        listed = names if len(names) <= _LONGEST_LIST else f"{names[:_LONGEST_LIST]}..."
        remedies = dict.fromkeys(
            f"; {_REMEDIES[kind].format(key=key, classes=listed)}"
            for kind in self.counts
            if kind in _REMEDIES
        )
        if lost:
            choice = (
                f"; these are all official {' and '.join(lost)} data: to have others drawn in their place, "
                "take them out of the source"
            )
        else:
            choice = "" if allowed else f"; or set {key}.unreadable: list to leave them out"
        raise UserError(
            f"{source}: {self.counts.total()} of {self.rows} rows cannot be used: {self.describe()}; "
            f"correct or remove them{''.join(remedies)}{choice}"
        )
