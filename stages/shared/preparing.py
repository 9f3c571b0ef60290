"""From packed samples to split ones: refuse what cannot be used, group, hold out, describe."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared.dataset import class_counts
from stages.shared.refusal import Refusal
from stages.shared.splits import SPLITS, families, split_by_group, split_within, straddlers

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.packing import Origin, Packed
    from stages.shared.schema import Split

_NAMED = 50


@dataclass(frozen=True)
class Rules:
    """By which params a task's samples are prepared, and how these are called.

    Attributes:
        task: the params' section.
        noun: what a sample is: "image".
        split: shares and seed.
        min_per_class: fewest usable samples of a class.
        fewer_pairs: what to do with the param near_duplicate so that fewer samples count as near.
        near_rule: what counts as a near duplicate, for the note.
        within: draw at random within group and class, so that each split holds its share of all;
            otherwise groups are drawn, and whoever is in one split is in no other.
    """

    task: str
    noun: str
    split: "Split"
    min_per_class: int
    fewer_pairs: str
    near_rule: str
    within: bool = False


@dataclass(frozen=True)
class Prepared:
    """The split samples, the dataset note, and what was left out."""

    samples: pd.DataFrame
    note: dict[str, Any]
    left_out: pd.DataFrame

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes; the packed array lies there already."""
        return {
            "samples.csv": self.samples,
            "dataset.json": self.note,
            "left_out.csv": self.left_out,
        }


def afresh(path: Path, make: Callable[[Path], Prepared]) -> Prepared:
    """Return what `make` gives when it packs into a file beside `path`, which then takes its place.

    What an earlier run left at `path` stays until nothing can be refused any more.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        prepared = make(fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return prepared


def prepared(
    packed: "Packed", classes: list[str], pairs: np.ndarray, origin: "Origin", rules: Rules
) -> Prepared:
    """Split packed samples by group and describe the result.

    Where the source knows no groups, or is split within them, near duplicates stay together: each
    family is a group.

    Args:
        packed: the account of packing; its samples' labels are names.
        classes: the names, in the order of the labels to be.
        pairs: (m, 2), rows of near duplicates.
        origin: for the note.
        rules: by which params.

    Raises:
        Refusal: there are too few groups to split, or no sample is left in a split.
    """
    samples = packed.samples
    samples["label"] = pd.Categorical(samples["label"], categories=classes).codes.astype(np.int64)
    given = samples.pop("official_test").to_numpy(dtype=bool)
    known = samples["group"].to_numpy()
    grouped = bool((known != "").any()) and not rules.within
    if not grouped:
        # The source's own test data draw nothing to them: what nearly repeats one is left out.
        tied = pairs[~given[pairs].any(axis=1)]
        samples["group"] = [f"family-{number}" for number in families(len(samples), tied)]
    units, labels = samples["group"].to_numpy(), samples["label"].to_numpy()
    if rules.within:
        cells = np.array([f"{group} {label}" for group, label in zip(known, labels, strict=True)])
        samples["split"] = split_within(units, cells, given, rules.split)
    else:
        samples["split"] = split_by_group(units, labels, given, rules.split)
    out = straddlers(samples["split"].to_numpy(), pairs)
    left_out = _left_out(packed, samples[out], rules.noun)
    samples = samples[~out].reset_index(drop=True)
    for name in SPLITS:
        if not (samples["split"] == name).any():
            raise Refusal(
                f"no {name} {rules.noun} is left once those that nearly repeat a held-out one are "
                f"gone; {rules.fewer_pairs}"
            )
    near = {
        "rule": rules.near_rule,
        "pairs": len(pairs),
        "straddling_left_out": int(out.sum()),
    }
    by = rules.noun
    if grouped:
        by = "group (no group is in two splits)"
    elif rules.within:
        strata = "group and class" if (known != "").any() else "class"
        by = (
            f"{rules.noun} at random within {strata} (each split holds its share of every one; near "
            "duplicates stay together)"
        )
    note = _note(packed, samples, classes, origin, rules, by=by, grouped=grouped)
    return Prepared(samples, {**note, "near_duplicates": near}, left_out)


def refuse_few(packed: "Packed", rules: Rules, classes: Iterable[str] = ()) -> None:
    """Refuse a class with too few usable samples; of `classes`, also one that has none.

    Raises:
        Refusal: names the class, how many it has and how many are asked for.
    """
    counts = packed.samples["label"].value_counts()
    for name in sorted({*packed.unreadable["label"], *packed.repeated["label"], *classes}):
        counts[name] = counts.get(name, 0)
    if counts.min() < rules.min_per_class:
        raise Refusal(
            f"class {counts.idxmin()!r} has {counts.min()} usable {rules.noun}s; "
            f"{rules.task}.prepare.min_per_class asks for {rules.min_per_class}: add {rules.noun}s, "
            "remove the class, or lower it (3 at least)"
        )


def _left_out(packed: "Packed", straddling: pd.DataFrame, noun: str) -> pd.DataFrame:
    unreadable = packed.unreadable[["id"]].assign(
        reason="unreadable", detail=packed.unreadable["problem"]
    )
    repeated = packed.repeated[["id"]].assign(
        reason="exact duplicate", detail="same as " + packed.repeated["same_as"]
    )
    near = straddling[["id"]].assign(
        reason=f"near duplicate of a held-out {noun}", detail="was in " + straddling["split"]
    )
    return pd.concat([unreadable, repeated, near], ignore_index=True).astype(str)


def _note(
    packed: "Packed",
    samples: pd.DataFrame,
    classes: list[str],
    origin: "Origin",
    rules: Rules,
    *,
    by: str,
    grouped: bool,
) -> dict[str, Any]:
    groups = {
        split: sorted(samples.loc[samples["split"] == split, "group"].unique()) for split in SPLITS
    }
    named = grouped and sum(map(len, groups.values())) <= _NAMED
    split = rules.split
    return {
        "origin": origin.origin,
        "licence": origin.licence,
        "label_rules": origin.label_rules,
        "raw_sha256": origin.raw_sha256 or packed.sha256,
        "raw_sha256_of": "the source" if origin.raw_sha256 else f"the packed {rules.noun}s",
        f"{rules.noun}s_sha256": packed.sha256,
        "classes": classes,
        "split_rule": f"drawn by {by}; test {split.test:g}, validation {split.validation:g}, seed "
        f"{split.seed}; exact duplicates are left out, and training {rules.noun}s that nearly repeat "
        "a held-out one",
        "grouped": grouped,
        "groups": groups if named else {split: [] for split in SPLITS},
        "group_counts": {split: len(groups[split]) for split in SPLITS},
        "counts": {split: int((samples["split"] == split).sum()) for split in SPLITS},
        "class_counts": class_counts(samples, classes),
        "unreadable": len(packed.unreadable),
        "unreadable_files": packed.unreadable.head(_NAMED).to_dict("records"),
        "exact_duplicates": len(packed.repeated),
        "exact_duplicates_with_another_label": int(
            (~packed.repeated["same_label"].astype(bool)).sum()
        ),
    }
