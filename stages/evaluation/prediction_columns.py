"""In which columns of a table from anywhere ids, labels, predictions, groups and probabilities are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.core.errors import UserError
from stages.datasets.problem_kinds import first_few
from stages.datasets.tables.formats import TableSource
from stages.datasets.texts.sources import class_name

NONE = "none"  # in the place of a column's name: the table's is not used
# Headings of columns that no flag names. The first wins; of the others a table may have one.
HEADINGS = {
    "id": ("id", "sample_id", "example_id", "doc_id", "question_id", "uid", "guid", "idx", "index"),
    "label": (
        *("label", "labels", "true", "true_label", "y_true", "target", "gold", "gold_label"),
        *("reference", "ground_truth"),
    ),
    "prediction": (
        *("prediction", "predictions", "predicted", "predicted_label", "predicted_class"),
        *("pred", "preds", "y_pred"),
    ),
    "group": ("group", "groups", "group_id", "cluster", "cluster_id"),
}
_INDEX = ("", "unnamed:_0")  # headings that pandas gives an index; ids where there are no others
_PREFIXES = (
    "probability_",
    "proba_",
    "prob_",
    "p_",
)  # of columns of probabilities, before the class
_CLASS = "{}"  # stands for the class in the name of such columns
_OPTIONAL = {"id", "group", "probability", "loss"}
_SUM_TOLERANCE = 0.01  # of the probabilities of a sample, which may be rounded
_EVEN = 0.5
_MAX_HEADER = 500  # characters of a header that a message quotes


@dataclass(frozen=True)
class ColumnNames:
    """Columns as the user names them; None: by their headings; "none", where one is optional: without.

    Attributes:
        id: without it, rows are known by their place.
        label: the true class.
        prediction: the predicted class.
        correct: whether the prediction is right, in the place of label and prediction.
        group: of samples that are not independent.
        probability: "p_{}", where {} stands for the class; of two classes also CLASS=COLUMN, or the
            column of the predicted class's probability.
        loss: the negative log probability of the true class, in nats, in the place of probabilities.
    """

    id: str | None = None
    label: str | None = None
    prediction: str | None = None
    correct: str | None = None
    group: str | None = None
    probability: str | None = None
    loss: str | None = None


def find_columns(source: TableSource, names: ColumnNames) -> dict[str, str]:
    """Return the column of each role that the table has: id, label, prediction or correct, group, loss.

    Raises:
        UserError: a named column does not exist, or one that is required has no name and no heading shows
            it; the line has all problems, and the header.
    """
    columns, problems = {}, []
    required = ["correct"] if names.correct else ["label", "prediction"]
    for role in ("id", *required, "group", "loss"):
        name = getattr(names, role)
        if name == NONE and role in _OPTIONAL:
            continue
        candidates = _by_heading(source.header, role) if name is None else [name]
        if name is not None and source.header.count(name) != 1:
            fault = "occurs twice" if name in source.header else "is missing"
            problems.append(f"--{role}: column {name!r} {fault}")
        elif len(candidates) == 1:
            columns[role] = candidates[0]
        elif candidates:
            problems.append(f"--{role}: could be {' or '.join(map(repr, candidates))}; name one")
        elif role in {"id", *required}:
            place = (
                ", or --id none if the rows of both are in the same order" if role == "id" else ""
            )
            problems.append(f"no column of {role}s; name it with --{role}{place}")
    if problems:
        raise UserError(f"{source.name}: {'; '.join(problems)}{_describe_header(source)}")
    return columns


def _describe_header(source: TableSource) -> str:
    return f"; the header has {', '.join(map(repr, source.header))[:_MAX_HEADER]}"


def _by_heading(header: Sequence[str], role: str) -> list[str]:
    headings = HEADINGS.get(role, ())
    for tier in (headings[:1], headings[1:], _INDEX if role == "id" else ()):
        columns = [name for name in header if "_".join(name.lower().split()) in tier]
        if columns:
            return columns
    return []


@dataclass(frozen=True)
class ProbabilityColumns:
    """The columns from which the probability of a sample's true class follows.

    Attributes:
        by_class: the column of each class; of one column for two classes, that of the class whose
            probability it has, or of "" if it is the predicted class.
        explicit: whether the user names them; others are used only if every label has one.
        description: for the output.
    """

    by_class: Mapping[str, str]
    explicit: bool = True
    description: str = ""

    def apply_to(self, labels: set[str], classes: set[str], name: str) -> bool:
        """Return whether there are columns, and they are of these classes.

        Args:
            labels: the true classes.
            classes: these, and the predicted ones.
            name: of the file, for the message.

        Raises:
            UserError: one column, and it is not of a class, or there are more than two.
        """
        if len(self.by_class) != 1:
            return bool(self.by_class) and (self.explicit or labels <= set(self.by_class))
        (single,) = self.by_class
        listed = first_few([*map(repr, sorted(classes))])
        if single and single not in classes:
            raise UserError(
                f"{name}: --probability: {single!r} is not one of the classes ({listed})"
            )
        if len(classes) > 2:  # noqa: PLR2004
            raise UserError(
                f"{name}: --probability: one column is enough for two classes, and there are "
                f"{len(classes)} ({listed}); name a column for each with {_CLASS} for the class, or "
                f"--probability {NONE}"
            )
        return True

    def of_label(self, label: str, prediction: str, cells: Sequence[str]) -> float | str:
        """Return the probability of a sample's true class, or what is wrong with the cells.

        Args:
            label: the true class.
            prediction: the predicted class.
            cells: of the columns, in their order.
        """
        values = [*map(to_number, cells)]
        for cell, value in zip(cells, values, strict=True):
            if not 0 <= value <= 1:  # NaN too
                return f"{cell!r} is not from 0 to 1"
        if len(values) > 1:
            if label not in self.by_class:
                return f"no column for the class {label!r}"
            if abs(sum(values) - 1) > _SUM_TOLERANCE:
                return f"they add up to {sum(values):.3g}"
            return values[list(self.by_class).index(label)]
        (single,), (value,) = self.by_class, values
        if not single and value < _EVEN:
            return f"{value:g} is less than even, so not of the predicted class; write CLASS=COLUMN"
        return value if label == (single or prediction) else 1 - value


def to_number(cell: str) -> float:
    """Return the number in a cell, NaN for none."""
    try:
        return float(cell)
    except ValueError:
        return math.nan


def find_probabilities(source: TableSource, names: ColumnNames) -> ProbabilityColumns:
    """Return the columns of probabilities; none where the user wants none or no heading shows them.

    Raises:
        UserError: a named column does not exist.
    """
    header, name = source.header, names.probability
    if name == NONE or names.correct or names.loss not in {None, NONE}:
        return ProbabilityColumns({})
    if name is None:
        for prefix in _PREFIXES:
            columns = _with_affixes(header, prefix, "")
            if len(columns) > 1:
                return ProbabilityColumns(columns, explicit=False, description=f"{prefix}{_CLASS}")
        return ProbabilityColumns({})
    columns = {"": name}
    if name not in header and _CLASS in name:
        columns = _with_affixes(header, *name.split(_CLASS, 1))
    elif name not in header and "=" in name:
        label, _, column = name.partition("=")
        columns = {class_name(label.strip()): column}
    if not columns or not set(columns.values()) <= set(header):
        raise UserError(
            f"{source.name}: --probability: given {name!r}; must be a column, CLASS=COLUMN, or a name in "
            f"which {_CLASS} stands for the class{_describe_header(source)}"
        )
    return ProbabilityColumns(columns, description=name)


def _with_affixes(header: Sequence[str], prefix: str, suffix: str) -> dict[str, str]:
    """Return the columns whose names begin and end so, by what is between."""
    return {
        class_name(name[len(prefix) : len(name) - len(suffix)]): name
        for name in header
        if name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix + suffix)
    }
