"""From packed samples to a split dataset: check class sizes, group, split, describe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.core.errors import UserError
from stages.datasets.dataset import EXCLUDED, SPLITS, class_counts
from stages.datasets.note import (
    excluded_samples,
    group_fields,
    official_fields,
    remarks,
    source_fields,
    split_rule,
)
from stages.datasets.splits import (
    HELD_OUT,
    cross_split_duplicates,
    draw_folds,
    duplicate_clusters,
    split_by_group,
    split_of_fold,
    split_stratified,
)

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.task import Task
    from stages.datasets.ledger import PackedSamples, SourceNote

_MAX_SMALL = 12  # classes that a message names


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
        clusters = duplicate_clusters(len(samples), _pairs_to_link(pairs, official))
        samples["group"] = [f"cluster-{number}" for number in clusters]
    folds = rules.task.params.prepare.split.folds
    if folds > 1:
        division = _divide_into_folds(samples, official, pairs, rules)
    else:
        division = _split_once(samples, source_groups, official, pairs, rules)
    counted = division.counted
    note = {
        **source_fields(packed, source, rules.noun),
        "classes": classes,
        **({"folds": folds} if folds > 1 else {}),
        "class_counts": class_counts(counted, classes),
        "counts": {name: int((counted["split"] == name).sum()) for name in SPLITS},
        "split_rule": split_rule(rules, official, has_groups=has_groups),
        "official_splits": official_fields(official, division.drawn),
        **group_fields(counted, by_group=by_group),
        "near_duplicates": {
            "rule": rules.near_rule,
            "pairs": len(pairs),
            "cross_split_excluded": len(division.crossing),
        },
    }
    note["remarks"] = [*source.remarks, *remarks(note, rules.noun)]
    excluded = excluded_samples(packed, division.crossing, rules.noun)
    return PreparedData(division.samples, note, excluded)


def _pairs_to_link(pairs: np.ndarray, official: np.ndarray) -> np.ndarray:
    """Return the near-duplicate pairs that form groups.

    A near duplicate of official held-out data from elsewhere does not join them; it is excluded.
    """
    held_out = np.where(np.isin(official, HELD_OUT), official, "")
    to_link: np.ndarray = pairs[held_out[pairs[:, 0]] == held_out[pairs[:, 1]]]
    return to_link


@dataclass(frozen=True)
class _Division:
    """Samples with their splits.

    Attributes:
        samples: those that are used, with the columns of their splits.
        counted: the samples that the note counts in each `split`: with folds, those of the first one,
            and all as test data.
        drawn: the split of each packed sample before any is excluded, (n,).
        crossing: the samples that are excluded as near duplicates across splits (with folds: of some
            fold), and in `split` from what.
    """

    samples: pd.DataFrame
    counted: pd.DataFrame
    drawn: np.ndarray
    crossing: pd.DataFrame


def _split_once(
    samples: pd.DataFrame,
    source_groups: np.ndarray,
    official: np.ndarray,
    pairs: np.ndarray,
    rules: PreparationRules,
) -> _Division:
    units, labels = samples["group"].to_numpy(), samples["label"].to_numpy()
    split = rules.task.params.prepare.split
    if rules.stratified:
        strata = np.array([f"{g} {label}" for g, label in zip(source_groups, labels, strict=True)])
        samples["split"] = split_stratified(units, strata, official, split)
    else:
        samples["split"] = split_by_group(units, labels, official, split)
    drawn = samples["split"].to_numpy(dtype=str)
    crossing = cross_split_duplicates(drawn, pairs)
    remaining = samples[~crossing].reset_index(drop=True)
    _require_all_splits(remaining["split"], rules)
    return _Division(remaining, remaining, drawn, samples[crossing])


def _divide_into_folds(
    samples: pd.DataFrame, official: np.ndarray, pairs: np.ndarray, rules: PreparationRules
) -> _Division:
    split = rules.task.params.prepare.split
    key = rules.task.key("prepare.split.folds")
    if (official != "").any():
        raise UserError(
            f"{key}: given {split.folds}; the source has official splits, which folds would mix: set it "
            "to 1, with shares for test and validation"
        )
    part = draw_folds(samples["group"].to_numpy(), samples["label"].to_numpy(), split)
    samples = samples.assign(split="test")
    for fold in range(split.folds):
        samples[f"split_{fold}"] = split_of_fold(part, fold, split.folds, pairs)
        _require_all_splits(samples[f"split_{fold}"], rules)
    excluded = samples.filter(regex=r"^split_\d+$") == EXCLUDED
    crossing = samples[excluded.any(axis=1)]
    folds_of = [
        f"train or validation of fold {' '.join(str(fold) for fold in np.flatnonzero(row))}"
        for row in excluded.loc[crossing.index].to_numpy()
    ]
    first = samples.assign(split=samples["split_0"])
    return _Division(
        samples,
        pd.concat([first[first["split"].isin(("train", "validation"))], samples]),
        samples["split"].to_numpy(dtype=str),
        crossing.assign(split=pd.Series(folds_of, crossing.index, dtype=object)),
    )


def _require_all_splits(splits: pd.Series, rules: PreparationRules) -> None:
    for name in SPLITS:
        if not (splits == name).any():
            raise UserError(
                f"no {name} {rules.noun}s remain once near duplicates across splits are excluded; "
                f"{rules.remedy}"
            )
