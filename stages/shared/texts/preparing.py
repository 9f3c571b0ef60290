"""Prepare texts: read the CSV file, pack it, find what nearly repeats, split."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.preparing import Prepared, Rules, afresh, prepared, refuse_few
from stages.shared.texts.duplicates import near_pairs
from stages.shared.texts.packed import Texts, pack
from stages.shared.texts.source import origin, passages

if TYPE_CHECKING:
    from stages.shared.schema import PrepareTexts


def prepare_texts(task: str, params: "PrepareTexts", folder: Path) -> Prepared:
    """Pack the file's texts into `folder`, split them by group, and describe the result.

    Raises:
        Refusal: a row cannot be used, a class has too few texts, or there are too few groups.
    """
    rules = Rules(
        task,
        "text",
        params.split,
        params.min_per_class,
        f"raise {task}.prepare.near_duplicate (it is {params.near_duplicate:g})",
        f"at least {params.near_duplicate:g} of the runs of three words that either holds are shared",
    )
    note = origin(params)

    def make(texts: Path) -> Prepared:
        packed = pack(passages(params), tuple(params.columns.slices), texts)
        refuse_few(packed, rules, params.classes)
        pairs = near_pairs(Texts(texts), params.near_duplicate)
        return prepared(packed, params.classes, pairs, note, rules)

    result = afresh(folder / "texts.bin", make)
    result.note.update(
        source=params.source,
        size_rule="as written, without blanks at the ends; the model sees at most "
        f"{task}.train.max_tokens tokens of each",
    )
    return result
