"""The predictions of one method in a table from anywhere, with all faults of its rows at once."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.datasets.problem_kinds import ProblemKinds, first_few
from stages.datasets.tables.csv_files import Row
from stages.datasets.tables.faults import ID, NO_GROUP, NO_ID, NO_LABEL, Fault, quote
from stages.datasets.tables.formats import TableSource
from stages.datasets.texts.sources import class_name
from stages.evaluation.classification_metrics import predictions_from
from stages.evaluation.prediction_columns import (
    ColumnNames,
    ProbabilityColumns,
    find_columns,
    find_probabilities,
    to_number,
)

CONTRADICTION, NO_PREDICTION = "contradictory id", "empty prediction"
PROBABILITY, LOSS, CORRECT = "unusable probability", "unusable loss", "neither right nor wrong"
RIGHT, WRONG = "right", "wrong"  # the classes of a table that only says which predictions are right
_REMEDIES = {
    NO_PREDICTION: "write a word for an answer that is none",
    NO_GROUP: "give each row a group, or --group none",
    PROBABILITY: "or --probability none",
    LOSS: "it must be a number of at least 0, or --loss none",
    CORRECT: "write 1 or 0",
}
_OUTCOMES = {"1": RIGHT, "true": RIGHT, "0": WRONG, "false": WRONG}


class Sample(NamedTuple):
    """A row: where it is, its true and its predicted class, and its group ("" without groups)."""

    location: str
    label: str
    prediction: str
    group: str


@dataclass(frozen=True)
class PredictionTable:
    """A method's predictions.

    Attributes:
        name: of the file, for messages.
        samples: by id, in the order of the rows.
        columns: in which they are, by role.
        losses: of the true classes in nats, by id; None where there are no probabilities.
    """

    name: str
    samples: Mapping[str, Sample]
    columns: Mapping[str, str]
    losses: Mapping[str, float] | None


def read_predictions(source: TableSource, names: ColumnNames) -> PredictionTable:
    """Return the predictions in a table.

    Labels and predictions are compared as text without blanks at the ends; 1.0 is 1.

    Raises:
        UserError: a column is missing, rows cannot be used (with the number and the first rows of each
            kind of fault), or no prediction is one of the labels.
    """
    columns, probabilities = find_columns(source, names), find_probabilities(source, names)
    reader = _Reader(columns)
    rows = source.select([*columns.values(), *probabilities.by_class.values()])
    for row in progress(rows, f"reading {source.name}"):
        reader.add(row)
    losses = reader.losses(probabilities, source.name)
    reader.check(source.name)
    if losses and "loss" not in columns:
        columns["probability"] = probabilities.description
    table = PredictionTable(source.name, reader.samples, columns, losses)
    _require_known_predictions(table)
    return table


def _require_known_predictions(table: PredictionTable) -> None:
    samples = table.samples.values()
    labels = sorted({sample.label for sample in samples})
    predictions = sorted({sample.prediction for sample in samples})
    if "correct" not in table.columns and not set(labels) & set(predictions):
        raise UserError(
            f"{table.name}: no prediction ({first_few([*map(quote, predictions)])}) is one of the labels "
            f"({first_few([*map(quote, labels)])}); write both in the same way"
        )


@dataclass
class _Reader:
    """Rows as they are read.

    Attributes:
        columns: by role, in the order of a row's cells; those of probabilities come after them.
        samples: by id.
        numbers: the cells of each sample's loss, or of its probabilities.
        problems: the faulty rows.
        rows: how many were read.
    """

    columns: Mapping[str, str]
    samples: dict[str, Sample] = field(default_factory=dict)
    numbers: dict[str, Sequence[str]] = field(default_factory=dict)
    problems: ProblemKinds = field(default_factory=ProblemKinds)
    rows: int = 0

    def add(self, row: Row) -> None:
        """Add a row to the samples, or to the problems."""
        self.rows += 1
        if row.fault:
            self._count(row.fault, row.location)
            return
        cells = [cell.strip() for cell in row.cells]
        values = dict(zip(self.columns, cells, strict=False))
        name = values.get("id", str(row.number))
        if "correct" in values:
            label, prediction = RIGHT, _OUTCOMES.get(class_name(values["correct"].lower()), "")
        else:
            label, prediction = class_name(values["label"]), class_name(values["prediction"])
        sample = Sample(row.location, label, prediction, values.get("group", ""))
        fault = self._fault(name, sample, values)
        if fault:
            self._count(fault, row.location)
        else:
            self.samples[name] = sample
            probabilities = cells[len(self.columns) :]
            self.numbers[name] = [values["loss"]] if "loss" in values else probabilities

    def _fault(self, name: str, sample: Sample, values: Mapping[str, str]) -> Fault | None:
        if not name:
            return Fault(NO_ID)
        if not sample.label:
            return Fault(NO_LABEL)
        if not sample.prediction:
            outcome = values.get("correct")
            return Fault(NO_PREDICTION) if outcome is None else Fault(CORRECT, quote(outcome))
        if "group" in values and not sample.group:
            return Fault(NO_GROUP)
        earlier = self.samples.get(name)
        if earlier is None:
            return None
        kind = ID if earlier[1:] == sample[1:] else CONTRADICTION
        return Fault(kind, f"{quote(name)} is also that of {earlier.location}")

    def _count(self, fault: Fault, location: str) -> None:
        detail = fault.detail
        self.problems.count(fault.kind, f"{location}: {detail}" if detail else location)

    def losses(self, probabilities: ProbabilityColumns, name: str) -> dict[str, float] | None:
        """Return the loss of each sample, None without columns for it; unusable cells are problems.

        Args:
            probabilities: their columns.
            name: of the file, for messages.

        Raises:
            UserError: the columns of probabilities are not those of the classes.
        """
        samples = self.samples.values()
        labels = {sample.label for sample in samples}
        classes = labels | {sample.prediction for sample in samples}
        if "loss" in self.columns:
            return self._numbers(LOSS, lambda _, cells: _loss(cells[0]))
        if not probabilities.apply_to(labels, classes, name):
            return None
        of_label = self._numbers(
            PROBABILITY,
            lambda sample, cells: probabilities.of_label(sample.label, sample.prediction, cells),
        )
        values = np.array([*of_label.values()])
        two = np.stack([values, 1 - values], axis=1)  # of the true class, and of any other one
        losses = predictions_from(two, np.zeros(len(values), dtype=np.int64)).loss
        return dict(zip(of_label, losses.tolist(), strict=True))

    def _numbers(
        self, kind: str, compute: Callable[[Sample, Sequence[str]], float | str]
    ) -> dict[str, float]:
        """Return a number for each sample; where `compute` returns a text, it is a problem's."""
        numbers = {}
        for name, sample in self.samples.items():
            number = compute(sample, self.numbers[name])
            if isinstance(number, str):
                self._count(Fault(kind, number), sample.location)
            else:
                numbers[name] = number
        return numbers

    def check(self, name: str) -> None:
        """Require that the table has rows, and all can be used.

        Raises:
            UserError: with the number and the first rows of each kind of fault.
        """
        if not self.rows:
            raise UserError(f"{name}: no rows below the header")
        counts = self.problems.counts
        if counts:
            remedies = [f"; {_REMEDIES[kind]}" for kind in counts if kind in _REMEDIES]
            raise UserError(
                f"{name}: {counts.total()} of {self.rows} rows cannot be used: "
                f"{self.problems.describe()}; correct or remove them{''.join(remedies)}"
            )


def _loss(cell: str) -> float | str:
    number = to_number(cell)
    return number if 0 <= number < math.inf else f"{quote(cell)} is no loss"
