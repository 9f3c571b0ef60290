"""Preparing texts: read the CSV file, pack it, find near duplicates, split."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.datasets.preparing import (
    PreparationRules,
    PreparedData,
    replace_atomically,
    require_class_sizes,
    split_and_describe,
)
from stages.datasets.texts.duplicates import near_pairs
from stages.datasets.texts.packed import PackedTexts, pack_texts
from stages.datasets.texts.sources import read_samples, source_note

if TYPE_CHECKING:
    from stages.core.schema import PrepareTexts
    from stages.core.task import Task


def prepare_texts(task: "Task", folder: Path) -> PreparedData:
    """Pack the file's texts into `folder`, split them by group, and describe the result.

    Raises:
        UserError: a row cannot be used, a class has too few texts, or there are too few groups.
    """
    params: PrepareTexts = task.params.prepare
    threshold, key = params.near_duplicate, task.key("prepare.near_duplicate")
    rules = PreparationRules(
        task,
        "text",
        f"raise {key} (it is {threshold:g})",
        f"the two texts share at least {threshold:g} of all their word trigrams",
    )
    note = source_note(task)

    def pack_and_split(path: Path) -> PreparedData:
        packed = pack_texts(read_samples(task), tuple(params.columns.slices), path)
        require_class_sizes(packed, rules, params.classes)
        pairs = near_pairs(PackedTexts(path), threshold, key)
        return split_and_describe(packed, params.classes, pairs, note, rules)

    data = replace_atomically(folder / "texts.bin", pack_and_split)
    data.note.update(
        source=params.source,
        size_rule="as written, without white space at the ends; the model reads at most "
        f"{task.key('train.max_tokens')} tokens of each",
    )
    return data
