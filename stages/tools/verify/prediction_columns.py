"""Tables of predictions of two runs, compared column by column."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# The columns that follow from the weights alone, and from no baseline or reference classifier fitted again.
_MODEL_COLUMNS = {
    "predictions.csv": r"seed_\d+|confidence|loss",
    "validation_predictions.csv": r"seed_\d+",
    "samples.csv": r"nearest_distance|sharpness",
}
PREDICTION_TABLES = (
    "predictions.csv",
    "validation_predictions.csv",
    "baseline_predictions.csv",
    "samples.csv",
)
_NO_PREDICTIONS = {"id", "row", "neighbour_row", "nearest_sample"}  # whole numbers, but no labels
_MAX_MEDIAN_DIFFERENCE = 5e-3  # of such a column, where another machine runs the same weights
_MAX_CHANGED_LABELS = 0.005  # the share of labels that rounding may decide otherwise then


def weight_disagreements(
    tables: "Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]",
) -> Iterator[str]:
    """Yield what differs by more than the rounding of another machine that runs the same weights."""
    for file, (committed, rerun) in tables.items():
        for column in committed.columns:
            if not re.fullmatch(_MODEL_COLUMNS.get(file, ""), str(column)):
                continue
            if column not in rerun or len(committed) != len(rerun):
                yield f"{file}: {column} is of other samples"
            elif _is_whole(committed[column]):
                share = float((committed[column] != rerun[column]).mean())
                if share > max(_MAX_CHANGED_LABELS, 1 / len(committed)):
                    yield (
                        f"{file}: the same weights give {share:.1%} of {len(committed)} another {column}"
                    )
            else:
                median = float((committed[column] - rerun[column]).abs().median())
                # Negated, so that NaN, which compares as false, is reported.
                if not median <= _MAX_MEDIAN_DIFFERENCE:
                    yield (
                        f"{file}: the same weights give another {column}: the median difference is "
                        f"{median:.3g}"
                    )


def changed_predictions(
    tables: "Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]",
) -> Iterator[str]:
    """Yield which predictions of which model differ."""
    for file, (committed, rerun) in tables.items():
        columns = [
            str(name)
            for name in committed
            if _is_whole(committed[name]) and name not in _NO_PREDICTIONS
        ]
        for column in columns:
            if column not in rerun or len(committed) != len(rerun):
                yield f"{file}: {column} is of other samples"
            elif (count := int((committed[column] != rerun[column]).sum())) > 0:
                yield f"{file}: {column} differs for {count} of {len(committed)} samples"


def _is_whole(column: "pd.Series[Any]") -> bool:
    from pandas.api.types import is_integer_dtype

    return bool(is_integer_dtype(column))
