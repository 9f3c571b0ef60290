"""Prepare images: read a source, pack it, find what nearly repeats, split."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.images.duplicates import near_pairs
from stages.shared.images.packed import opened, pack
from stages.shared.images.source import source
from stages.shared.preparing import Prepared, Rules, afresh, prepared, refuse_few
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.images.source import Source
    from stages.shared.packing import Packed
    from stages.shared.schema import PrepareImages, PrepareStripes


def prepare_images(
    task: str, params: "PrepareImages", folder: Path, *, within: bool = False
) -> Prepared:
    """Pack the source's images into `folder`, split them, and describe the result.

    Args:
        task: the params' section.
        params: of its stage prepare.
        folder: where the packed array goes.
        within: draw at random within group and class, instead of drawing groups.

    Raises:
        Refusal: nothing is readable, a class has too few images, a file is unreadable where
            the params refuse that, or there are too few groups to split.
    """
    return prepare_source(task, params, source(params), folder, within=within)


def prepare_source(
    task: str,
    params: "PrepareImages | PrepareStripes",
    origin: "Source",
    folder: Path,
    *,
    within: bool = False,
) -> Prepared:
    """Pack what `origin` yields into `folder`, split it, and describe the result.

    Args:
        task: the params' section.
        params: of its stage prepare.
        origin: where the images come from.
        folder: where the packed array goes.
        within: as for `prepare_images`.

    Raises:
        Refusal: as `prepare_images`.
    """
    rules = Rules(
        task,
        "image",
        params.split,
        params.min_per_class,
        f"lower {task}.prepare.near_duplicate (it is {params.near_duplicate:g})",
        f"root mean square difference at most {params.near_duplicate:g} of the range",
        within,
    )
    shape = (params.channels, params.size, params.size)

    def make(images: Path) -> Prepared:
        packed = pack(origin.pictures, shape, images)
        _refuse_unusable(packed, task, params)
        refuse_few(packed, rules)
        classes = sorted(packed.samples["label"].unique())
        if len(classes) < 2:  # noqa: PLR2004
            raise Refusal(f"{params.path}: one class only, {classes[0]!r}; at least 2 are needed")
        pairs, _ = near_pairs(opened(images), params.near_duplicate)
        return prepared(packed, classes, pairs, origin.note, rules)

    result = afresh(folder / "images.npy", make)
    result.note.update(
        source=params.source,
        shape=list(shape),
        size_rule=f"{params.size} x {params.size} pixels, {params.channels} channel(s); resized "
        "without keeping the sides' ratio where a file differs",
    )
    return result


def _refuse_unusable(packed: "Packed", task: str, params: "PrepareImages | PrepareStripes") -> None:
    bad = packed.unreadable
    if len(bad) and params.unreadable == "refuse":
        first = bad.iloc[0]
        raise Refusal(
            f"{first['id']}: {first['problem']} ({len(bad)} unreadable files in all); mend or "
            f"remove them, or set {task}.prepare.unreadable: list to go on without them"
        )
    if packed.samples.empty:
        raise Refusal(
            f"{params.path}: none of {len(bad)} files is a readable image "
            f"(the first, {bad.iloc[0]['id']}: {bad.iloc[0]['problem']})"
        )
