"""Text classifiers on other texts, for `evidence verify --data`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.datasets.tables.faults import FaultCount
from stages.datasets.tables.reading import find_tables
from stages.datasets.texts.packed import pack_texts
from stages.datasets.texts.sources import read_samples
from stages.kinds.text_classification.evaluate import model_loader

if TYPE_CHECKING:
    from stages.core.schema import Columns
    from stages.core.task import Task
    from stages.datasets.ledger import PackedSamples

__all__ = ["model_loader", "pack"]


def pack(
    task: "Task", path: Path, folder: Path, _note: Mapping[str, Any], option: str
) -> "PackedSamples":
    """Pack the texts of a table as prepare would have packed them, with their classes.

    Args:
        task: of which the model is; its columns are read, those of id and group where they are.
        path: of a table, or of a folder with one for each split.
        folder: gets `texts.bin`.
        _note: the dataset note of the task; nothing of it is needed.
        option: how the user has named the texts, for messages.

    Raises:
        UserError: it is no such table, lacks the column of the text or the label, or has a quote that
            is never closed.
    """
    tables = find_tables(path, option)
    header = set.intersection(*(set(table.header()) for table in tables))
    declared: Columns = task.params.prepare.columns
    columns = declared.model_copy(
        update={
            "id": declared.id if declared.id in header else None,
            "group": declared.group if declared.group in header else None,
            "split": None,
            "slices": [],
        }
    )
    faults = FaultCount()
    samples = faults.watch(read_samples(tables, columns, None, option))
    packed = pack_texts(samples, (), folder / "texts.bin")
    faults.check(str(path), option, "list")
    return packed
