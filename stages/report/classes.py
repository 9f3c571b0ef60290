"""The tables and the figure of a classifier's classes, in a form for few and for many classes."""

from typing import TYPE_CHECKING

import pandas as pd

from stages.report import charts
from stages.report.document import Block, Figure, Table
from stages.report.formatting import (
    make_table,
    model_name,
    percent,
    points,
    points_range,
    slice_name,
    table_rows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from stages.report.stage_outputs import ClassificationOutputs

MOST_ROWS = (
    20  # classes, pairs and buckets that a page lists; with more classes the matrix is no figure
)
_NAMED_BUCKETS = 6  # in the description of a figure


def split_table(
    counts: "Sequence[Mapping[str, Any]]", total: "Mapping[str, Any]", folds: int = 1
) -> Table:
    """Return the number of samples of each class in each split; of many classes, the smallest ones.

    Args:
        counts: class, train, validation, test; a row for each class.
        total: the same over all classes.
        folds: of the data.
    """
    selected, caption = list(counts), "Samples by class and split"
    if len(selected) > MOST_ROWS:
        selected = sorted(selected, key=lambda row: row["train"])[:MOST_ROWS]
        sizes = sorted(row["train"] for row in counts)
        caption += (
            f", the {MOST_ROWS} classes of {len(counts)} with the fewest training samples (from {sizes[0]} "
            f"to {sizes[-1]}, median {sizes[len(sizes) // 2]}; data/dataset_note.json has all)"
        )
    columns = {"class": "class", "train": "train", "validation": "validation", "test": "test"}
    if folds > 1:
        caption += f"; each is test data in one of {folds} folds; train and validation: fold 0"
    return make_table([*selected, {"class": "all", **total}], columns, caption)


def slice_table(outputs: "ClassificationOutputs") -> Table:
    """Return the accuracy of model and baseline by slice, where the model loses most first."""
    slices, level = outputs.slices, percent(outputs.task.params.evaluate.confidence, 0)
    ordered = slices.sort_values(["gain", "gain_high"], kind="stable").head(MOST_ROWS)
    rows = [
        {
            **row,
            "name": slice_name(row),
            "accuracy": percent(row["accuracy"]),
            "baseline_accuracy": percent(row["baseline_accuracy"]),
            "gain": points(row["gain"]),
            "interval": points_range(row["gain_low"], row["gain_high"]),
        }
        for row in table_rows(ordered)
    ]
    columns = {
        "name": "slice",
        "count": "n",
        "accuracy": "model",
        "baseline_accuracy": "baseline",
        "gain": "difference",
        "interval": f"{level} interval",
        "verdict": "verdict",
    }
    extent = (
        f", the {MOST_ROWS} lowest of {len(slices)} (data/slices.csv has all)"
        if len(slices) > MOST_ROWS
        else ""
    )
    caption = (
        f"Test accuracy by slice, model minus baseline{extent}; the intervals are corrected for "
        f"{len(slices)} slices"
    )
    return make_table(rows, columns, caption)


def class_table(outputs: "ClassificationOutputs") -> Table:
    """Return the test scores by class; of many classes, those with the lowest F1."""
    table, caption = outputs.per_class, "Test scores by class"
    if len(table) > MOST_ROWS:
        caption += (
            f", the {MOST_ROWS} of {len(table)} with the lowest F1 (data/per_class.csv has all)"
        )
        table = table.sort_values(["f1", "class"], kind="stable").head(MOST_ROWS)
    columns = {
        "class": "class",
        "count": "count",
        "correct": "correct",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "baseline_f1": "baseline F1",
    }
    return make_table(table_rows(table), columns, caption)


def confusion_blocks(outputs: "ClassificationOutputs") -> list[Block]:
    """Return the confusion matrix as a figure; of many classes, the most confused pairs as a table."""
    matrix = outputs.confusion
    if len(matrix) > MOST_ROWS:
        return [_pair_table(matrix, model_name(outputs))]
    buckets = sorted(outputs.summary["buckets"].items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name}: {count}" for name, count in buckets[:_NAMED_BUCKETS])
    ending = ", ..." if len(buckets) > _NAMED_BUCKETS else ""
    return [
        Figure(
            "confusion.svg",
            charts.confusion(matrix),
            f"Confusion matrix, true class by predicted class. Failure cases by bucket: {named}{ending}",
            f"Confusion matrix of {model_name(outputs)} on test data: counts; mistakes are "
            "coloured by their share of the "
            "true class.",
        )
    ]


def confused_pairs(matrix: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of classes that are confused, the most frequent first.

    Args:
        matrix: the true class in the first column, and a column of counts for each predicted class.

    Returns:
        true, predicted, count, share (of the true class's samples); no pair without errors.
    """
    true = matrix.columns[0]
    pairs = matrix.melt(true, var_name="predicted", value_name="count").rename(
        columns={true: "true"}
    )
    pairs["share"] = pairs["count"] / pairs.groupby("true")["count"].transform("sum").clip(lower=1)
    wrong = pairs[(pairs["true"] != pairs["predicted"]) & (pairs["count"] > 0)]
    order = ["count", "share", "true", "predicted"]
    return wrong.sort_values(order, ascending=[False, False, True, True]).reset_index(drop=True)


def _pair_table(matrix: pd.DataFrame, model: str) -> Table:
    pairs = confused_pairs(matrix)
    selected = pairs.head(MOST_ROWS)
    rows = [{**row, "share": percent(row["share"])} for row in table_rows(selected)]
    extent = "" if len(pairs) <= MOST_ROWS else f", the {MOST_ROWS} most frequent of {len(pairs)}"
    return make_table(
        rows,
        {
            "true": "true class",
            "predicted": "predicted",
            "count": "errors",
            "share": "of the class",
        },
        f"Confused pairs of classes on test data, by {model}{extent} (the whole matrix of "
        f"{len(matrix)} classes is data/confusion_matrix.csv)",
    )


def bucket_table(buckets: "Mapping[str, int]") -> Table:
    """Return the failure cases by bucket, the largest first, at most `MOST_ROWS` buckets."""
    by_count = sorted(buckets.items(), key=lambda item: (-item[1], item[0]))
    extent = f", the {MOST_ROWS} largest of {len(buckets)}" if len(buckets) > MOST_ROWS else ""
    return make_table(
        [{"bucket": bucket, "cases": count} for bucket, count in by_count[:MOST_ROWS]],
        {"bucket": "bucket", "cases": "cases"},
        f"Failure cases by bucket{extent}",
    )
