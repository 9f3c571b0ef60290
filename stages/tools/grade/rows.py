"""The rows of a graded submission: a criterion, what a check says of it, and its points."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from stages.core.errors import printable
from stages.tools.grade.rubric import Criterion, Rubric


class State(StrEnum):
    """What a check says of a criterion."""

    MET = "shown"
    OPEN = "to judge"
    NOT_MET = "not shown"


@dataclass(frozen=True)
class Observation:
    """What a check finds in a commit.

    Attributes:
        state: whether the criterion is met.
        evidence: in words, with what the learner wrote in quotes.
        judge: what a person must decide, "" where nothing is left.
        note: the learner's whole note, by which equal ones are told.
    """

    state: State
    evidence: str
    judge: str = ""
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A criterion of the rubric, and what a commit shows of it.

    Attributes:
        criterion: its name.
        task: in whose evidence.
        worth: the points of the criterion.
        state: "shown", "to judge", "not shown".
        evidence: in words.
        judge: what a person must decide, "" where nothing is left.
        note: the learner's whole note, "" where none counts.
    """

    criterion: str
    task: str
    worth: float
    state: str
    evidence: str
    judge: str = ""
    note: str = ""

    @property
    def points(self) -> float:
        """Return the points that the check gives."""
        return self.worth if self.state == State.MET else 0.0

    @property
    def open_points(self) -> float:
        """Return the points that a person may give."""
        return self.worth if self.state == State.OPEN else 0.0


def unread_rows(rubric: Rubric, reason: str) -> list[Row]:
    """Return a row for each criterion, none of them shown because nothing could be read."""
    return [make_row(criterion, not_shown(reason)) for criterion in rubric.criteria]


def make_row(criterion: Criterion, observation: Observation) -> Row:
    """Return the row of a criterion; one with a question is left to a person if it is shown."""
    state, judge = observation.state, observation.judge
    if state is not State.NOT_MET and criterion.judge:
        state, judge = State.OPEN, " ".join(filter(None, (judge, criterion.judge)))
    evidence = printable(observation.evidence)
    return Row(
        criterion.name,
        criterion.task,
        criterion.points,
        str(state),
        evidence,
        judge,
        observation.note,
    )


def not_shown(evidence: str) -> Observation:
    """Return the observation that a criterion is not met."""
    return Observation(State.NOT_MET, evidence)


def total(rows: Iterable[Row]) -> tuple[float, float, float]:
    """Return the points that checks give, those that a person may give, and the most."""
    rows = list(rows)
    return (
        sum(row.points for row in rows),
        sum(row.open_points for row in rows),
        sum(row.worth for row in rows),
    )
