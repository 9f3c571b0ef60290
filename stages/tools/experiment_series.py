"""The series of experiments of a task: those on the same draw of validation data.

A series is the tries on one draw of validation data. The draw is fresh with another split seed or other raw
data; official validation data are the same whatever the seed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.core.files import read_json, write
from stages.evaluation.experiment_log import LOG, LogRow, read_log, to_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from stages.core.task import Task

_HASH_LENGTH = 8


@dataclass(frozen=True)
class Draw:
    """A draw of validation and test data.

    Attributes:
        split_seed: of the draw.
        data: the first digits of the raw data's SHA-256.
        official: the splits that the source gives, and no seed changes.
    """

    split_seed: str
    data: str
    official: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Return it in words."""
        return f"split seed {self.split_seed}, data {self.data}"

    def shares(self, split: str, draw: "Draw") -> bool:
        """Return whether the data of a split are the same in another draw."""
        return self.data == draw.data and (
            self.split_seed == draw.split_seed or split in self.official
        )

    def rows(self, log: "pd.DataFrame", split: str) -> "pd.DataFrame":
        """Return the tries whose data of a split are those of this draw."""
        import numpy as np

        draws = map(Draw, log["split_seed"], log["data"])
        return log[np.array([self.shares(split, draw) for draw in draws], dtype=bool)]


def present_draw(task: "Task") -> Draw:
    """Return the draw on which the pack was made.

    Raises:
        UserError: the pack has not been made.
    """
    data = task.evidence / "data"
    return draw_of(read_json(data / "params.json"), read_json(data / "dataset_note.json"))


def draw_of(params: "Mapping[str, Any]", note: "Mapping[str, Any]") -> Draw:
    """Return the draw of a pack.

    Args:
        params: the content of its params.json.
        note: the content of its dataset_note.json.

    Raises:
        LookupError, TypeError: they are those of another project or an early version.
    """
    seed, digest = params["prepare"]["split"]["seed"], note["raw_sha256"][:_HASH_LENGTH]
    return Draw(str(seed), digest, frozenset(note["official_splits"]["splits"]))


def completed_log(task: "Task", draw: Draw) -> "pd.DataFrame":
    """Return the experiments of a task, those of an earlier version as tries of the present draw.

    Such rows do not say on which draw they were. To count them can only make the present series stricter.

    Args:
        task: whose log is read.
        draw: the present one.

    Raises:
        UserError: the file is damaged.
    """
    log = read_log(task.evidence / LOG)
    unknown = log["split_seed"] == ""
    log.loc[unknown, ["split_seed", "data"]] = [draw.split_seed, draw.data]
    log.loc[unknown, "try_number"] = [str(number) for number in range(1, 1 + unknown.sum())]
    return log


def append_to_log(task: "Task", row: LogRow) -> None:
    """Append a row, which names the present draw, to the experiments of a task; all other rows stay."""
    log = completed_log(task, Draw(row.split_seed, row.data))
    write(task.evidence / LOG, with_row(log, row))


def with_row(log: "pd.DataFrame", row: LogRow) -> "pd.DataFrame":
    """Return experiments with one more row at the end."""
    import pandas as pd

    return pd.concat([log, to_table([row])], ignore_index=True)
