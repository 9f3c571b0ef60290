"""Tables of predictions on disk, in every format that `evidence compare` reads."""

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.datasets.tables.formats import open_source
from stages.evaluation.imported_predictions import PredictionTable, read_predictions
from stages.evaluation.prediction_columns import ColumnNames

Rows = Sequence[Mapping[str, Any]]


def write_table(path: Path, rows: Rows) -> Path:
    """Write rows of the same keys, in the format that the path's suffix names."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        import pandas as pd

        pd.DataFrame([dict(row) for row in rows]).to_parquet(path)
        return path
    if name.endswith((".csv", ".tsv")):
        text = io.StringIO()
        separator = "\t" if name.endswith(".tsv") else ","
        writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    elif name.endswith(".json"):
        content = json.dumps([dict(row) for row in rows])
    else:
        content = "".join(json.dumps(dict(row)) + "\n" for row in rows)
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def make_rows(labels: Sequence[Any], predictions: Sequence[Any], **columns: Sequence[Any]) -> Rows:
    """Return rows with ids s0, s1, ..., labels, predictions and further columns."""
    return [
        {
            "id": f"s{index}",
            "label": label,
            "prediction": prediction,
            **{name: values[index] for name, values in columns.items()},
        }
        for index, (label, prediction) in enumerate(zip(labels, predictions, strict=True))
    ]


def read_table(path: Path, **names: str) -> PredictionTable:
    """Return the predictions in a file; `names` are columns by role."""
    return read_predictions(open_source(path), ColumnNames(**names))
