"""Prepare images: read a source, drop what repeats, split by group, write the dataset note."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from stages.shared.dataset import class_counts
from stages.shared.duplicates import families, near_pairs
from stages.shared.images import Packed, Source, opened, pack, source
from stages.shared.refusal import Refusal
from stages.shared.splits import SPLITS, split_by_group, straddlers

if TYPE_CHECKING:
    from stages.params import PrepareImages
    from stages.shared.files import Content
    from stages.shared.task import Task

IMAGES = "images.npy"
_NAMED = 50


@dataclass(frozen=True)
class Prepared:
    """The split samples, the dataset note, and what was left out."""

    samples: pd.DataFrame
    note: dict[str, Any]
    left_out: pd.DataFrame

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes; the packed images lie there already."""
        return {
            "samples.csv": self.samples,
            "dataset.json": self.note,
            "left_out.csv": self.left_out,
        }


def prepare(task: "Task", folder: Path) -> Prepared:
    """Pack the source's images into `folder`, split them by group, and describe the result.

    Raises:
        Refusal: nothing is readable, a class has too few images, a file is unreadable where
            the params refuse that, or there are too few groups to split.
    """
    params: PrepareImages = task.params.prepare
    origin = source(params)
    fresh = folder / f".{IMAGES}.new"  # what an earlier run left stays until nothing can be refused
    try:
        prepared = _prepare(params, origin, fresh)
        fresh.replace(folder / IMAGES)
    finally:
        fresh.unlink(missing_ok=True)
    return prepared


def _prepare(params: "PrepareImages", origin: Source, images: Path) -> Prepared:
    packed = pack(origin.pictures, (params.channels, params.size, params.size), images)
    _refuse_unusable(packed, params)
    samples = packed.samples
    classes = sorted(samples["label"].unique())
    samples["label"] = pd.Categorical(samples["label"], categories=classes).codes.astype(np.int64)

    pairs, _ = near_pairs(opened(images), params.near_duplicate)
    grouped = bool((samples["group"] != "").any())
    if not grouped:  # then near duplicates stay together: each family is a group
        # The source's own test data draw nothing to them: what nearly repeats one is left out.
        given = samples["official_test"].to_numpy(dtype=bool)
        tied = pairs[~given[pairs].any(axis=1)]
        samples["group"] = [f"family-{number}" for number in families(len(samples), tied)]
    samples["split"] = split_by_group(
        samples["group"].to_numpy(),
        samples["label"].to_numpy(),
        samples.pop("official_test").to_numpy(dtype=bool),
        params.split,
    )
    out = straddlers(samples["split"].to_numpy(), pairs)
    left_out = _left_out(packed, samples[out])
    samples = samples[~out].reset_index(drop=True)
    for name in SPLITS:
        if not (samples["split"] == name).any():
            raise Refusal(
                f"no {name} image is left once those that nearly repeat a held-out one are gone; "
                f"lower image.prepare.near_duplicate (it is {params.near_duplicate:g})"
            )
    note = _note(params, origin, packed, samples, classes, grouped=grouped)
    note["near_duplicates"] = {
        "rule": f"root mean square difference at most {params.near_duplicate:g} of the range",
        "pairs": len(pairs),
        "straddling_left_out": int(out.sum()),
    }
    return Prepared(samples, note, left_out)


def _refuse_unusable(packed: Packed, params: "PrepareImages") -> None:
    bad = packed.unreadable
    if len(bad) and params.unreadable == "refuse":
        first = bad.iloc[0]
        raise Refusal(
            f"{first['id']}: {first['problem']} ({len(bad)} unreadable files in all); mend or "
            "remove them, or set image.prepare.unreadable: list to go on without them"
        )
    if packed.samples.empty:
        raise Refusal(
            f"{params.path}: none of {len(bad)} files is a readable image "
            f"(the first, {bad.iloc[0]['id']}: {bad.iloc[0]['problem']})"
        )
    counts = packed.samples["label"].value_counts()
    for name in sorted({*bad["label"], *packed.repeated["label"]}):
        counts[name] = counts.get(name, 0)
    if counts.min() < params.min_per_class:
        raise Refusal(
            f"class {counts.idxmin()!r} has {counts.min()} usable images; "
            f"image.prepare.min_per_class asks for {params.min_per_class}: add images, remove the "
            "class, or lower it (3 at least)"
        )
    if len(counts) < 2:  # noqa: PLR2004
        raise Refusal(f"{params.path}: one class only, {counts.index[0]!r}; at least 2 are needed")


def _left_out(packed: Packed, straddling: pd.DataFrame) -> pd.DataFrame:
    unreadable = packed.unreadable[["id"]].assign(
        reason="unreadable", detail=packed.unreadable["problem"]
    )
    repeated = packed.repeated[["id"]].assign(
        reason="exact duplicate", detail="same as " + packed.repeated["same_as"]
    )
    near = straddling[["id"]].assign(
        reason="near duplicate of a held-out image", detail="was in " + straddling["split"]
    )
    return pd.concat([unreadable, repeated, near], ignore_index=True).astype(str)


def _note(
    params: "PrepareImages",
    origin: Source,
    packed: Packed,
    samples: pd.DataFrame,
    classes: list[str],
    *,
    grouped: bool,
) -> dict[str, Any]:
    by = "group (no writer or other group is in two splits)" if grouped else "image"
    groups = {
        split: sorted(samples.loc[samples["split"] == split, "group"].unique()) for split in SPLITS
    }
    return {
        "source": params.source,
        "origin": origin.origin,
        "licence": origin.licence,
        "label_rules": origin.label_rules,
        "raw_sha256": origin.raw_sha256 or packed.sha256,
        "raw_sha256_of": "the source's arrays" if origin.raw_sha256 else "the packed images",
        "images_sha256": packed.sha256,
        "classes": classes,
        "shape": [params.channels, params.size, params.size],
        "size_rule": f"{params.size} x {params.size} pixels, {params.channels} channel(s); "
        "resized without keeping the sides' ratio where a file differs",
        "split_rule": f"drawn by {by}; test {params.split.test:g}, validation "
        f"{params.split.validation:g}, seed {params.split.seed}; exact duplicates are left out, and "
        "training images that nearly repeat a held-out one",
        "grouped": grouped,
        "groups": groups if grouped else {split: [] for split in SPLITS},
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
