"""Propose the params of a task for a table of texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from stages.core.errors import UserError
from stages.datasets.texts.packed import pack_texts
from stages.datasets.texts.sources import TextSample
from stages.datasets.texts.survey import (
    Column,
    TableSurvey,
    count_labels,
    survey_table,
    word_quartiles,
)
from stages.kinds.plans import Plan, SplitSizes
from stages.kinds.probe import write_dataset
from stages.kinds.proposal import (
    MIN_SAMPLES,
    NO_GROUPS,
    DataOptions,
    Ladder,
    Proposal,
    Setting,
    common_settings,
    describe_counts,
    min_per_class,
    split_shares,
    split_sizes,
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
_REGRESSIONS = 0.05  # evaluate.assumed_regressions of the template
_SAMPLE_TEXTS = 1000
_LONGEST_TEXT = 2048  # tokens to which lengths are counted
_TOKEN_QUANTILE = 0.95
_TOKEN_STEP = 16  # tokens; train.max_tokens is a multiple
_MOST_TOKENS = 256
_PREPARING_SECONDS = 5e-4  # of one text: packing it, looking for its near duplicates
_BASELINE_SECONDS = 2e-3  # of one training text
_MIN_GROUPS = 10


def propose(path: Path, name: str, options: DataOptions) -> Proposal:
    """Return the params of a task for the CSV or TSV file `path`.

    The column of texts is one with a common heading (`TEXT`) and many different values, otherwise the one
    with the longest values. The column of labels is one with a common heading (`LABEL`) and few different
    values, otherwise the one with the fewest.

    Raises:
        UserError: it is no such file, has no column of texts or none of labels, or lacks a column that
            `options` names.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"{path}: must be a table whose name ends in {' or '.join(SUFFIXES)}; images must be in a "
            "folder, with a sub-folder for each class"
        )
    survey = survey_table(path)
    text = _named_column(survey, path, "--text", options.text) or _text_column(survey, path)
    label = _named_column(survey, path, "--label", options.label) or _label_column(survey, path)
    counts = count_labels(path, text.name, label.name)
    _require_class_sizes(counts, label.name, path)
    roles = {
        "text": text,
        "label": label,
        **_optional_columns(survey, (text, label), path, options.groups),
    }
    columns = {
        role: "null" if column is None else yaml_scalar(column.name)
        for role, column in roles.items()
    }
    remaining = [column for column in survey.columns if column not in roles.values()]
    classes = sorted(counts)
    sizes = split_sizes(counts.total(), split_shares(counts.total()), {})
    values, settings = common_settings(counts, sizes, _REGRESSIONS)
    max_tokens, tokens_reason = _max_tokens(text)
    return Proposal(
        {
            **columns,
            **values,
            "classes": yaml_list([yaml_scalar(value) for value in classes], 8),
            "min_per_class": str(min_per_class(counts)),
            "max_tokens": str(max_tokens),
            "lengths": yaml_list([str(words) for words in word_quartiles(text)], 8),
        },
        {
            "columns": ", ".join(column.name for column in survey.columns),
            "texts": describe_counts({value: counts[value] for value in classes}, "texts"),
        },
        (
            *(Setting(f"prepare.columns.{key}", heading) for key, heading in columns.items()),
            *settings,
            Setting("train.max_tokens", str(max_tokens), tokens_reason),
        ),
        tuple(_remarks(name, label, remaining, survey)),
        Ladder(
            plans(sizes),
            sizes,
            partial(write_sampled_texts, texts=_sample_texts(text), classes=classes),
            _PREPARING_SECONDS * counts.total() + _BASELINE_SECONDS * sizes.train,
        ),
    )


def _require_class_sizes(counts: Counter[str], heading: str, path: Path) -> None:
    for value, count in counts.items():
        if count < MIN_SAMPLES:
            raise UserError(
                f"{path}: label {value!r} of column {heading!r} has {count} texts; at least "
                f"{MIN_SAMPLES} are needed, one for each split: add some, or remove its rows"
            )


def plans(sizes: SplitSizes) -> list[Plan]:
    """Return the plans for texts, from the largest number of trained layers to the smallest."""
    batch_size, epochs = training_length(sizes.train, (32, 16, 8), 100, (2, 20))
    return [
        Plan(
            f"minilm, {layers} of its layers trained, batches of {batch_size}",
            {"train_layers": str(layers), "batch_size": str(batch_size)},
            epochs,
        )
        for layers in (2, 1)
    ]


def write_sampled_texts(
    folder: Path, training: int, validation: int, *, texts: Sequence[str], classes: list[str]
) -> None:
    """Write texts of the table, with made-up labels, as the stage prepare writes texts.

    Args:
        folder: of the stage prepare.
        training: number of training texts.
        validation: number of validation texts.
        texts: to write; numbered where they repeat.
        classes: the names of the labels.
    """
    samples = (
        TextSample(str(number), f"{number} {text}", classes[0], "", ())
        for number, text in zip(range(training + validation), cycle(texts), strict=False)
    )
    pack_texts(samples, (), folder / "texts.bin")
    write_dataset(folder, classes, training, validation)


def _sample_texts(column: Column) -> list[str]:
    """Return at most `_SAMPLE_TEXTS` of a column's texts, from all over the table."""
    texts = [text for text in column.values if text]
    return texts[:: -(-len(texts) // _SAMPLE_TEXTS)]


def _max_tokens(column: Column) -> tuple[int, str]:
    """Return the length in tokens that 95% of the texts do not exceed, within limits, and the reason."""
    from stages.kinds.text_classification.inputs import token_counts, tokenize

    lengths = token_counts(tokenize(_sample_texts(column), _LONGEST_TEXT))
    needed = int(np.quantile(lengths, _TOKEN_QUANTILE))
    tokens = min(_MOST_TOKENS, -(-needed // _TOKEN_STEP) * _TOKEN_STEP)
    share = float((lengths > tokens).mean())
    return tokens, f"{share:.0%} of the sampled texts are longer and cut off"


def _named_column(
    survey: TableSurvey, path: Path, option: str, heading: str | None
) -> Column | None:
    """Return the column that an option names, None where it names none.

    Raises:
        UserError: the table has no such column.
    """
    if heading is None:
        return None
    for column in survey.columns:
        if column.name == heading:
            return column
    headings = ", ".join(column.name for column in survey.columns)
    raise UserError(f"{option}: given {heading!r}; {path} has the columns {headings}")


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
    survey: TableSurvey, required: tuple[Column, Column], path: Path, group: str | None
) -> dict[str, Column | None]:
    """Return the columns of ids and of groups, where headings and values show them or `--groups` does."""
    columns = [column for column in survey.columns if column.complete and column not in required]
    groups = [column for column in columns if not column.unique and column.distinct >= _MIN_GROUPS]
    suggested = _first_with_heading(groups, GROUP)
    if group is not None:
        named = None if group == NO_GROUPS else group
        suggested = _named_column(survey, path, "--groups", named)
    return {
        "id": _first_with_heading([column for column in columns if column.unique], ID),
        "group": suggested,
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
