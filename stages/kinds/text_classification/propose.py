"""Propose the params of a task for a table of texts."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from stages.core.errors import UserError
from stages.datasets.texts.survey import (
    Column,
    TableSurvey,
    count_labels,
    survey_table,
    word_quartiles,
)
from stages.kinds.proposal import (
    MIN_SAMPLES,
    Proposal,
    describe_counts,
    min_per_class,
    training_length,
    yaml_list,
    yaml_scalar,
)

SUFFIXES = (".csv", ".tsv")
TEXT = ("text", "review", "sentence", "content", "comment", "body", "message", "description")
LABEL = ("label", "sentiment", "class", "category", "target", "polarity", "rating", "stars")
ID = ("id", "uid", "uuid", "row_id", "text_id", "review_id")
GROUP = (
    *("group", "group_id", "author", "author_id", "user", "user_id", "customer", "customer_id"),
    *("reviewer", "reviewer_id", "product", "product_id", "writer", "speaker", "thread_id"),
)
MAX_CLASSES = 50
_ROWS_OF_CLASS = 5  # rows that a class has on average, at least, for a column to be of labels
_TRAINING_SHARE = 0.7  # what the template's split leaves to train on
_MIN_GROUPS = 10


def propose(path: Path, name: str) -> Proposal:
    """Return the params of a task for the CSV or TSV file `path`.

    The column of texts is one with a common heading (`TEXT`) and many different values, otherwise the one
    with the longest values. The column of labels is one with a common heading (`LABEL`) and few different
    values, otherwise the one with the fewest.

    Raises:
        UserError: it is no such file, or has no column of texts or none of labels.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{path}: must be a table whose name ends in {' or '.join(SUFFIXES)}; images must be in a "
            "folder, with a sub-folder for each class"
        )
    survey = survey_table(path)
    text, label = _text_column(survey, path), _label_column(survey, path)
    counts = count_labels(path, text.name, label.name)
    for value, count in counts.items():
        if count < MIN_SAMPLES:
            raise UserError(
                f"{path}: label {value!r} of column {label.name!r} has {count} texts; at least "
                f"{MIN_SAMPLES} are needed, one for each split: add some, or remove its rows"
            )
    roles = {"text": text, "label": label, **_optional_columns(survey, (text, label))}
    columns = {
        role: "null" if column is None else yaml_scalar(column.name)
        for role, column in roles.items()
    }
    remaining = [column for column in survey.columns if column not in roles.values()]
    classes = sorted(counts)
    batch_size, epochs = training_length(
        int(_TRAINING_SHARE * counts.total()), (32, 16, 8), 100, (2, 20)
    )
    return Proposal(
        {
            **columns,
            "classes": yaml_list([yaml_scalar(value) for value in classes], 8),
            "min_per_class": str(min_per_class(counts)),
            "batch_size": str(batch_size),
            "epochs": str(epochs),
            "lengths": yaml_list([str(words) for words in word_quartiles(text)], 8),
        },
        {
            "columns": ", ".join(column.name for column in survey.columns),
            "texts": describe_counts({value: counts[value] for value in classes}, "texts"),
        },
        {
            **{f"prepare.columns.{key}": heading for key, heading in columns.items()},
            "train.model": f"minilm, {epochs} epochs, batches of {batch_size}, three seeds",
        },
        tuple(_remarks(name, label, remaining, survey)),
    )


def _max_classes(survey: TableSurvey) -> int:
    return max(2, min(MAX_CLASSES, survey.rows // _ROWS_OF_CLASS))


def _text_column(survey: TableSurvey, path: Path) -> Column:
    candidates = [column for column in survey.columns if column.distinct > _max_classes(survey)]
    if not candidates:
        raise UserError(
            f"{path}: no column of texts: each has at most {_max_classes(survey)} different values"
        )
    return _first_with_heading(candidates, TEXT) or max(
        candidates, key=lambda column: column.characters
    )


def _label_column(survey: TableSurvey, path: Path) -> Column:
    limit = _max_classes(survey)
    candidates = [column for column in survey.columns if 2 <= column.distinct <= limit]  # noqa: PLR2004
    if not candidates:
        raise UserError(
            f"{path}: no column of labels: none has from 2 to {limit} different values, the "
            f"most that {survey.rows} rows allow"
        )
    return _first_with_heading(candidates, LABEL) or min(
        candidates, key=lambda column: column.distinct
    )


def _optional_columns(
    survey: TableSurvey, required: tuple[Column, Column]
) -> dict[str, Column | None]:
    """Return the columns of ids and of groups, where their headings and values show them."""
    columns = [column for column in survey.columns if column.complete and column not in required]
    groups = [column for column in columns if not column.unique and column.distinct >= _MIN_GROUPS]
    return {
        "id": _first_with_heading([column for column in columns if column.unique], ID),
        "group": _first_with_heading(groups, GROUP),
    }


def _first_with_heading(columns: Iterable[Column], headings: Sequence[str]) -> Column | None:
    """Return the column with the first of `headings` that a column has, None for none."""
    by_name = {column.name.strip().lower(): column for column in columns}
    return next((by_name[heading] for heading in headings if heading in by_name), None)


def _remarks(
    name: str, label: Column, remaining: Sequence[Column], survey: TableSurvey
) -> Iterable[str]:
    slices = [column.name for column in remaining if 2 <= column.distinct <= _max_classes(survey)]  # noqa: PLR2004
    if label.name.strip().lower() not in LABEL:
        key = f"tasks.{name}.prepare.columns.label"
        yield f"check {key}: {label.name} was chosen because it has few different values"
    if slices:
        yield (
            f"further columns with few values: {', '.join(slices)}; list them in "
            f"tasks.{name}.prepare.columns.slices to see results by them"
        )
