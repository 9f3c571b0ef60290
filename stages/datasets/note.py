"""The dataset note: where samples come from, how they are split, what is left out and why."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.errors import UserError
from stages.datasets.dataset import SPLITS
from stages.datasets.splits import HELD_OUT

if TYPE_CHECKING:
    from stages.datasets.ledger import PackedSamples, SourceNote
    from stages.datasets.preparing import PreparationRules

_MAX_LISTED = 50  # groups, unreadable files and contradictory labels that the note lists by name
_NAMED_CLASSES = 5


def official_fields(official: np.ndarray, split: np.ndarray) -> dict[str, Any]:
    """Return which splits the source gives, and the samples that their group moved to a later one."""
    held_out = [name for name in HELD_OUT if name in official]
    moved = np.isin(split, held_out) & (split != official)
    counts = {name: int((moved & (split == name)).sum()) for name in held_out}
    return {"splits": [name for name in SPLITS if name in official], "moved_by_group": counts}


def split_rule(rules: "PreparationRules", official: np.ndarray, *, has_groups: bool) -> str:
    """Return how samples were split, in words.

    Args:
        rules: of the preparation.
        official: (n,), the split that the source gives each sample, "" where it gives none.
        has_groups: whether the source names groups.
    """
    unit = f"{rules.noun} (near duplicates stay together)"
    if rules.stratified:
        strata = "group and class" if has_groups else "class"
        unit = (
            f"{rules.noun} at random within {strata} (each split has its share of each; near "
            "duplicates stay together)"
        )
    elif has_groups:
        unit = "group (no group is in two splits)"
    return (
        f"{_draw_rule(rules, official, unit)}; exact duplicates are excluded; so are near duplicates "
        f"of a test {rules.noun} in train or validation, and of a validation {rules.noun} in train"
    )


def _draw_rule(rules: "PreparationRules", official: np.ndarray, unit: str) -> str:
    """Return which splits are official, and the folds or shares that are drawn, in words."""
    task = rules.task
    split = task.params.prepare.split
    if split.folds > 1:
        return (
            f"{split.folds} folds, drawn by {unit}, seed {split.seed}: each part of the data is test data "
            "in one fold, validation data in the one before, and training data in all others"
        )
    shares = dict(zip(("test", "validation"), split.shares, strict=True))
    held_out = [name for name in shares if name in official]
    drawn = {name: share for name, share in shares.items() if name not in held_out}
    words = ", ".join(f"{name} {share:g}" for name, share in drawn.items())
    draw = f"drawn by {unit}; {words}, seed {split.seed}"
    if not held_out:
        return draw
    keys = " and ".join(task.key(f"prepare.split.{name}") for name in held_out)
    keep = f"{' and '.join(held_out)}: official, as the source gives them ({keys} not used)"
    return f"{keep}; {draw} of the other data" if drawn else f"{keep}; nothing is drawn"


def source_fields(packed: "PackedSamples", source: "SourceNote", noun: str) -> dict[str, Any]:
    """Return the fields on the source, and on unreadable and repeated samples."""
    conflicts = packed.duplicates.query("label != same_as_label")
    return {
        "origin": source.origin,
        "licence": source.licence,
        "label_rules": source.label_rules,
        "synthetic": source.synthetic,
        "limits": dict(source.limits),
        "raw_sha256": source.raw_sha256 or packed.sha256,
        "raw_sha256_of": "the source" if source.raw_sha256 else f"the packed {noun}s",
        f"{noun}s_sha256": packed.sha256,
        "unreadable": len(packed.unreadable),
        "unreadable_files": packed.unreadable.head(_MAX_LISTED).to_dict("records"),
        "exact_duplicates": len(packed.duplicates),
        "exact_duplicates_with_another_label": len(conflicts),
        "label_conflicts": conflicts.head(_MAX_LISTED).to_dict("records"),
    }


def group_fields(samples: pd.DataFrame, *, by_group: bool) -> dict[str, Any]:
    """Return the groups in each split, by name where there are few.

    Args:
        samples: group and split of each.
        by_group: whether the source names the groups.
    """
    groups = {
        name: sorted(samples.loc[samples["split"] == name, "group"].unique()) for name in SPLITS
    }
    listed = by_group and sum(map(len, groups.values())) <= _MAX_LISTED
    return {
        "grouped": by_group,
        "groups": groups if listed else {name: [] for name in SPLITS},
        "group_counts": {name: len(groups[name]) for name in SPLITS},
    }


def remarks(note: Mapping[str, Any], noun: str) -> list[str]:
    """Return sentences on unusable and contradictory samples, and on classes that a split lacks.

    Raises:
        UserError: a class of official held-out data has no training data.
    """
    sentences = []
    if note["unreadable"]:
        first = note["unreadable_files"][0]
        sentences.append(
            f"{noun}s that cannot be used, and are listed: {note['unreadable']} (the first, "
            f"{first['id']}: {first['problem']})"
        )
    if note["label_conflicts"]:
        first = note["label_conflicts"][0]
        sentences.append(
            f"{noun}s in two classes: {note['exact_duplicates_with_another_label']} (the first, "
            f"{first['id']} in {first['label']!r}, is the same as {first['same_as']} in "
            f"{first['same_as_label']!r}); one of the two labels is wrong, perhaps "
            "that of the sample that is kept: check both"
        )
    for name, count in note["official_splits"]["moved_by_group"].items():
        if count:
            sentences.append(
                f"{noun}s moved to the official {name} data, where samples of their group are: {count}"
            )
    for split in SPLITS:
        missing = [row["class"] for row in note["class_counts"] if not row[split]]
        rest = len(missing) - _NAMED_CLASSES
        if missing and split == "train" and set(HELD_OUT) & set(note["official_splits"]["splits"]):
            raise UserError(
                f"class {missing[0]!r} has {noun}s in the official held-out data and none to train on "
                f"({len(missing)} such classes); add some, correct the name of the class, or remove it"
            )
        if missing:
            sentences.append(
                f"classes without {split} {noun}s: {', '.join(missing[:_NAMED_CLASSES])}"
                f"{f' and {rest} more' if rest > 0 else ''}"
            )
    return sentences


def excluded_samples(packed: "PackedSamples", crossing: pd.DataFrame, noun: str) -> pd.DataFrame:
    """Return a row for each sample that was left out: id, reason, detail."""
    unreadable = packed.unreadable[["id"]].assign(
        reason="unreadable", detail=packed.unreadable["problem"]
    )
    exact = packed.duplicates[["id"]].assign(
        reason="exact duplicate", detail="same as " + packed.duplicates["same_as"]
    )
    near = crossing[["id"]].assign(
        reason=f"near duplicate of a held-out {noun}", detail="was in " + crossing["split"]
    )
    return pd.concat([unreadable, exact, near], ignore_index=True).astype(str)
