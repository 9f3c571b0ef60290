"""Preparing texts: read the tables, pack their texts, find near duplicates, split."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stages.core.errors import UserError
from stages.datasets.class_names import alike
from stages.datasets.preparing import (
    PreparationRules,
    PreparedData,
    replace_atomically,
    require_class_sizes,
    split_and_describe,
)
from stages.datasets.tables.faults import FaultCount
from stages.datasets.tables.reading import digest
from stages.datasets.texts.duplicates import near_pairs
from stages.datasets.texts.packed import PackedTexts, pack_texts
from stages.datasets.texts.sources import class_names, read_samples, source_note, source_tables

if TYPE_CHECKING:
    from stages.core.schema import PrepareTexts
    from stages.core.task import Task
    from stages.datasets.ledger import PackedSamples


def prepare_texts(task: "Task", folder: Path) -> PreparedData:
    """Pack the tables' texts into `folder`, split them by group, and describe the result.

    Raises:
        UserError: rows cannot be used (`prepare.unreadable` says whether they may be left out), a class
            has too few texts, there are too few groups, or a table changed while it was read.
    """
    params: PrepareTexts = task.params.prepare
    threshold, key = params.near_duplicate, task.key("prepare.near_duplicate")
    rules = PreparationRules(
        task,
        "text",
        f"raise {key} (it is {threshold:g})",
        f"the two texts share at least {threshold:g} of all their word trigrams",
    )
    tables, faults = source_tables(task), FaultCount()
    note = source_note(task, tables)
    note.remarks.extend(alike(params.classes or ()))

    def pack_and_split(path: Path) -> PreparedData:
        samples = read_samples(tables, params.columns, params.classes, task.key("prepare"))
        packed = pack_texts(faults.watch(samples), tuple(params.columns.slices), path)
        if digest(tables) != note.raw_sha256:
            raise UserError(f"{params.path} changed while it was read; run the same command again")
        default: Literal["refuse"] | None = "refuse" if params.source == "reviews" else None
        faults.check(params.path, task.key("prepare"), params.unreadable or default, params.classes)
        classes = params.classes or _classes(packed, task)
        require_class_sizes(packed, rules, classes)
        pairs = near_pairs(PackedTexts(path), threshold, key)
        return split_and_describe(packed, classes, pairs, note, rules)

    data = replace_atomically(folder / "texts.bin", pack_and_split)
    data.note.update(
        source=params.source,
        sample_unit="row",
        unreadable_kinds=dict(sorted(faults.counts.items())),
        size_rule="as written, without white space at the ends; the model reads at most "
        f"{task.key('train.max_tokens')} tokens of each",
    )
    return data


def _classes(packed: "PackedSamples", task: "Task") -> list[str]:
    labels = {*packed.samples["label"], *packed.duplicates["label"]}
    return class_names(labels, task.params.prepare.columns.label, task.key("prepare"))
