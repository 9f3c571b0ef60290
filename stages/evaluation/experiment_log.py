"""The experiments of a task, evidence/<task>/experiments.csv: a row for every try, also those that failed.

`evidence experiment` writes the file; the pack reads it. A task without experiments has the heading alone.
"""

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.core.files import read_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

LOG = "experiments.csv"
_FIRST_COLUMNS = 7  # those of a file of an earlier version, which has no others


@dataclass(frozen=True)
class LogRow:
    """A row of experiments.csv; every cell is text, "" where there is nothing to say.

    Attributes:
        date: of the try, in UTC.
        change: the param and its new value.
        why: what was expected of it.
        before: the result on validation data without the change, in words.
        after: the result with the change.
        verdict: at the level that the series requires; or `failed: ...`.
        kept: whether the change was applied: yes or no.
        p: of the test between the two.
        required_p: below which p must lie.
        try_number: of the try in its series, from 1.
        split_seed: of the draw.
        data: the first digits of the raw data's SHA-256.
        test_evaluations: with how many different params the test data of this draw have been evaluated.
        confirmation_seed: the split seed of the fresh draw on which the change was tested again.
        confirmation: the result on it, in words.
    """

    date: str
    change: str
    why: str
    before: str = ""
    after: str = ""
    verdict: str = ""
    kept: str = "no"
    p: str = ""
    required_p: str = ""
    try_number: str = ""
    split_seed: str = ""
    data: str = ""
    test_evaluations: str = ""
    confirmation_seed: str = ""
    confirmation: str = ""


COLUMNS = [field.name for field in fields(LogRow)]


def to_table(rows: "Sequence[LogRow]") -> "pd.DataFrame":
    """Return rows as a table."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows], columns=COLUMNS, dtype=str)


def read_log(path: "Path") -> "pd.DataFrame":
    """Return the experiments so far, the oldest first; all columns are text.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists() or not path.stat().st_size:
        return to_table([])
    table = read_csv(path, dtype=str)
    if list(table) not in (COLUMNS, COLUMNS[:_FIRST_COLUMNS]):
        raise UserError(f"{path}: must have the columns {', '.join(COLUMNS)}")
    return table.reindex(columns=COLUMNS, fill_value="")
