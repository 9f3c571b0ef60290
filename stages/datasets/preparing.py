"""From packed samples to a split dataset: check class sizes, group, split, describe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.errors import UserError
from stages.datasets.dataset import SPLITS, class_counts
from stages.datasets.splits import (
    HELD_OUT,
    cross_split_duplicates,
    duplicate_clusters,
    split_by_group,
    split_stratified,
)

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.task import Task
    from stages.datasets.ledger import PackedSamples, SourceNote

_MAX_SMALL = 12  # classes that a message names
_MAX_LISTED = 50  # groups, unreadable files and contradictory labels that the note lists by name
_NAMED_CLASSES = 5


@dataclass(frozen=True)
class PreparationRules:
    """How a task's samples are prepared, and the words for it in notes and messages.

    Attributes:
        task: its params of the stage prepare apply.
        noun: what a sample is: "image".
        remedy: how to change the param near_duplicate so that fewer samples count as near duplicates.
        near_rule: what counts as a near duplicate.
        stratified: draw samples at random within group and class, so that each split has its share of
            each; otherwise draw groups, so that no group is in two splits.
    """

    task: "Task"
    noun: str
    remedy: str
    near_rule: str
    stratified: bool = False


@dataclass(frozen=True)
class PreparedData:
    """The split samples, the dataset note, and the samples that were left out, with reasons."""

    samples: pd.DataFrame
    note: dict[str, Any]
    excluded: pd.DataFrame

    def files(self) -> "dict[str, Content]":
        """Return the files to write beside the packed array."""
        return {
            "samples.csv": self.samples,
            "dataset.json": self.note,
            "excluded_samples.csv": self.excluded,
        }


def replace_atomically(path: Path, make: Callable[[Path], PreparedData]) -> PreparedData:
    """Return the result of `make`, which packs samples into the path that it is called with.

    That is a temporary file, which replaces `path` once `make` has returned; after an error `path` is
    unchanged.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        data = make(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return data


def require_class_sizes(
    packed: "PackedSamples", rules: PreparationRules, classes: Iterable[str] = ()
) -> None:
    """Require at least `min_per_class` usable samples of each class.

    Args:
        packed: the samples; their labels are names.
        rules: `min_per_class` of the params applies.
        classes: classes that must be present, beside those of the samples.

    Raises:
        UserError: a class has too few.
    """
    counts = packed.samples["label"].value_counts()
    named = {*packed.unreadable["label"], *packed.duplicates["label"], *classes}
    absent = named - {"", *counts.index}  # a row whose label is unknown is of no class
    counts = counts.reindex([*counts.index, *sorted(absent)], fill_value=0)
    least, noun = rules.task.params.prepare.min_per_class, rules.noun
    small = counts[counts < least].sort_values(kind="stable")
    if len(small):
        listed = ", ".join(f"{name!r} {count}" for name, count in small[1:_MAX_SMALL].items())
        ending = ", ..." if len(small) > _MAX_SMALL else ""
        raise UserError(
            f"class {small.index[0]!r} has {small.iloc[0]} usable {noun}s"
            f"{f', and {len(small) - 1} more have too few ({listed}{ending})' if listed else ''}; "
            f"{rules.task.key('prepare.min_per_class')} requires {least}: add {noun}s, remove the "
            "class, or lower it (to 3 or more)"
        )


def split_and_describe(
    packed: "PackedSamples",
    classes: list[str],
    pairs: np.ndarray,
    source: "SourceNote",
    rules: PreparationRules,
) -> PreparedData:
    """Split packed samples, exclude near duplicates across splits, and describe the result.

    Near duplicates form the groups where the source names none, or where it is split within groups.

    Args:
        packed: the samples; their labels are names.
        classes: the names of the classes, in the order of the labels.
        pairs: (m, 2), rows of near duplicates.
        source: the source's part of the note.
        rules: how to split.

    Raises:
        UserError: there are too few groups, or a split is empty.
    """
    samples = packed.samples
    samples["label"] = pd.Categorical(samples["label"], categories=classes).codes.astype(np.int64)
    official = samples.pop("official_split").to_numpy(dtype=str)
    source_groups = samples["group"].to_numpy()
    has_groups = bool((source_groups != "").any())
    by_group = has_groups and not rules.stratified
    if not by_group:
        # A near duplicate of official held-out data does not join them; it is excluded.
        linked = pairs[~np.isin(official, HELD_OUT)[pairs].any(axis=1)]
        clusters = duplicate_clusters(len(samples), linked)
        samples["group"] = [f"cluster-{number}" for number in clusters]
    units, labels = samples["group"].to_numpy(), samples["label"].to_numpy()
    split = rules.task.params.prepare.split
    if rules.stratified:
        strata = np.array([f"{g} {label}" for g, label in zip(source_groups, labels, strict=True)])
        samples["split"] = split_stratified(units, strata, official, split)
    else:
        samples["split"] = split_by_group(units, labels, official, split)
    official_fields = _official_fields(official, samples["split"].to_numpy(dtype=str))
    crossing = cross_split_duplicates(samples["split"].to_numpy(), pairs)
    excluded = _excluded_samples(packed, samples[crossing], rules.noun)
    samples = samples[~crossing].reset_index(drop=True)
    _require_all_splits(samples, rules)
    note = {
        **_source_fields(packed, source, rules.noun),
        "classes": classes,
        "class_counts": class_counts(samples, classes),
        "counts": {name: int((samples["split"] == name).sum()) for name in SPLITS},
        "split_rule": _split_rule(rules, official, has_groups=has_groups),
        "official_splits": official_fields,
        **_group_fields(samples, by_group=by_group),
        "near_duplicates": {
            "rule": rules.near_rule,
            "pairs": len(pairs),
            "cross_split_excluded": int(crossing.sum()),
        },
    }
    note["remarks"] = [*source.remarks, *_remarks(note, rules.noun)]
    return PreparedData(samples, note, excluded)


def _remarks(note: dict[str, Any], noun: str) -> list[str]:
    """Return sentences on unusable and contradictory samples, and on classes that a split lacks.

    Raises:
        UserError: a class of official held-out data has no training data.
    """
    remarks = []
    if note["unreadable"]:
        first = note["unreadable_files"][0]
        remarks.append(
            f"{noun}s that cannot be used, and are listed: {note['unreadable']} (the first, "
            f"{first['id']}: {first['problem']})"
        )
    if note["label_conflicts"]:
        first = note["label_conflicts"][0]
        remarks.append(
            f"{noun}s in two classes: {note['exact_duplicates_with_another_label']} (the first, "
            f"{first['id']} in {first['label']!r}, is the same as {first['same_as']} in "
            f"{first['same_as_label']!r}); one of the two labels is wrong, perhaps "
            "that of the sample that is kept: check both"
        )
    for name, count in note["official_splits"]["moved_by_group"].items():
        if count:
            remarks.append(
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
            remarks.append(
                f"classes without {split} {noun}s: {', '.join(missing[:_NAMED_CLASSES])}"
                f"{f' and {rest} more' if rest > 0 else ''}"
            )
    return remarks


def _require_all_splits(samples: pd.DataFrame, rules: PreparationRules) -> None:
    for name in SPLITS:
        if not (samples["split"] == name).any():
            raise UserError(
                f"no {name} {rules.noun}s remain once near duplicates across splits are excluded; "
                f"{rules.remedy}"
            )


def _excluded_samples(packed: "PackedSamples", crossing: pd.DataFrame, noun: str) -> pd.DataFrame:
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


def _official_fields(official: np.ndarray, split: np.ndarray) -> dict[str, Any]:
    """Return which splits the source gives, and the samples that their group moved to a later one."""
    held_out = [name for name in HELD_OUT if name in official]
    moved = np.isin(split, held_out) & (split != official)
    counts = {name: int((moved & (split == name)).sum()) for name in held_out}
    return {"splits": [name for name in SPLITS if name in official], "moved_by_group": counts}


def _split_rule(rules: PreparationRules, official: np.ndarray, *, has_groups: bool) -> str:
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
        f"{_draw_rule(rules.task, official, unit)}; exact duplicates are excluded; so are near duplicates "
        f"of a test {rules.noun} in train or validation, and of a validation {rules.noun} in train"
    )


def _draw_rule(task: "Task", official: np.ndarray, unit: str) -> str:
    """Return which splits are official, and the shares of those that are drawn, in words."""
    split = task.params.prepare.split
    shares = {"test": split.test, "validation": split.validation}
    held_out = [name for name in shares if name in official]
    drawn = {name: share for name, share in shares.items() if name not in held_out}
    words = ", ".join(f"{name} {share:g}" for name, share in drawn.items())
    draw = f"drawn by {unit}; {words}, seed {split.seed}"
    if not held_out:
        return draw
    keys = " and ".join(task.key(f"prepare.split.{name}") for name in held_out)
    keep = f"{' and '.join(held_out)}: official, as the source gives them ({keys} not used)"
    return f"{keep}; {draw} of the other data" if drawn else f"{keep}; nothing is drawn"


def _source_fields(packed: "PackedSamples", source: "SourceNote", noun: str) -> dict[str, Any]:
    conflicts = packed.duplicates.query("label != same_as_label")
    return {
        "origin": source.origin,
        "licence": source.licence,
        "label_rules": source.label_rules,
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


def _group_fields(samples: pd.DataFrame, *, by_group: bool) -> dict[str, Any]:
    groups = {
        name: sorted(samples.loc[samples["split"] == name, "group"].unique()) for name in SPLITS
    }
    listed = by_group and sum(map(len, groups.values())) <= _MAX_LISTED
    return {
        "grouped": by_group,
        "groups": groups if listed else {name: [] for name in SPLITS},
        "group_counts": {name: len(groups[name]) for name in SPLITS},
    }
