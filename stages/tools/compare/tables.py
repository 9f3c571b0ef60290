"""Two tables of predictions from anywhere, or two columns of one table, compared sample by sample."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.tools.compare import options, output
from stages.tools.text_tables import align

if TYPE_CHECKING:
    from stages.evaluation.imported_predictions import PredictionTable

NAMES = ("A", "B")


def compare_tables(paths: Sequence[str], arguments: argparse.Namespace) -> output.Report:
    """Return the comparison of the second table with the first; of one table, of two of its columns.

    Raises:
        UserError: a table cannot be used, or the two are not of the same samples.
    """
    from stages.datasets.tables.formats import open_source
    from stages.evaluation.imported_predictions import read_predictions
    from stages.evaluation.paired_tables import compare_pairs, pair_tables
    from stages.evaluation.prediction_columns import NONE

    params = options.make_params(arguments, {})
    if arguments.correct and params.metric != "accuracy":
        raise UserError(f"--metric {params.metric} needs labels and predictions, not --correct")
    names = list(options.column_names(arguments))
    same = Path(paths[0]).resolve() == Path(paths[-1]).resolve()
    if same and not any(len(getattr(arguments, name)) > 1 for name in ("prediction", "correct")):
        raise UserError(
            f"{paths[0]}: one table needs two columns to compare: --prediction A --prediction B"
        )
    if same and not arguments.probability:  # whose they are nobody can tell
        names = [replace(columns, probability=NONE) for columns in names]
    tables = [
        read_predictions(open_source(Path(path), arguments.separator), columns)
        for path, columns in zip((paths[0], paths[-1]), names, strict=True)
    ]
    comparison = compare_pairs(pair_tables(*tables, common=arguments.common), params)
    return output.Report(
        lines=[
            output.verdict_sentence(comparison, NAMES),
            "",
            *align([*_table_rows(tables), *output.figure_rows(comparison, NAMES)], 2),
            *output.sample_lines(comparison),
        ],
        content={
            "tables": {
                name.lower(): {"path": table.name, "columns": dict(table.columns)}
                for name, table in zip(NAMES, tables, strict=True)
            },
            **output.as_json(comparison),
        },
        comparisons={"": comparison},
        names=NAMES,
        accepted=comparison.accepted,
    )


def _table_rows(tables: "Sequence[PredictionTable]") -> Iterator[tuple[str, str]]:
    for name, table in zip(NAMES, tables, strict=True):
        columns = ", ".join(f"{role} {column!r}" for role, column in table.columns.items())
        yield name, f"{table.name} ({columns})"
