"""Preparing images: read a source, pack it, find near duplicates, split."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import UserError
from stages.datasets.images.duplicates import near_pairs
from stages.datasets.images.files import FULL_DEPTH
from stages.datasets.images.packed import open_packed, pack_images
from stages.datasets.images.problems import count_kinds, refuse_problems, summarise_problems
from stages.datasets.images.sources import open_source
from stages.datasets.preparing import (
    PreparationRules,
    PreparedData,
    replace_atomically,
    require_class_sizes,
    split_and_describe,
)

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task
    from stages.datasets.ledger import PackedSamples


def prepare_images(task: "Task", folder: Path, *, stratified: bool = False) -> PreparedData:
    """Pack the source's images into `folder`, split them, and describe the result.

    Args:
        task: its params of the stage prepare apply.
        folder: where the packed array is written.
        stratified: draw at random within group and class, instead of drawing groups.

    Raises:
        UserError: no image is readable, a file is unreadable and `unreadable` is "refuse", a class has
            too few images, or there are too few groups to split.
    """
    params: PrepareImages = task.params.prepare
    source = open_source(task)
    threshold_key = task.key("prepare.near_duplicate")
    rules = PreparationRules(
        task,
        "image",
        f"lower {threshold_key} (it is {params.near_duplicate:g})",
        f"root mean square difference at most {params.near_duplicate:g} of the range",
        stratified,
    )
    shape = (params.channels, params.size, params.size)

    def make(images: Path) -> PreparedData:
        packed = pack_images(source.samples, shape, images)
        _require_readable(packed, task)
        require_class_sizes(packed, rules)
        classes = sorted(packed.samples["label"].unique())
        if len(classes) < 2:  # noqa: PLR2004
            raise UserError(f"{params.path}: one class only, {classes[0]!r}; at least 2 are needed")
        pairs, _ = near_pairs(open_packed(images), params.near_duplicate, threshold_key)
        return split_and_describe(packed, classes, pairs, source.note, rules)

    data = replace_atomically(folder / "images.npy", make)
    excluded = data.excluded[data.excluded["reason"] == "unreadable"]
    bits = source.grey_depth.bits_in_use() if source.grey_depth else None
    depth = f"; 16-bit grey files use {bits} bits and are scaled by these" if bits else ""
    data.note.update(
        source=params.source,
        layout=source.layout,
        shape=list(shape),
        grey_bits=bits or FULL_DEPTH,
        unreadable_kinds=count_kinds(excluded["detail"]),
        size_rule=f"{params.size} x {params.size} pixels, {params.channels} channel(s); resized, without "
        f"keeping the aspect ratio, where a file differs{depth}",
    )
    if bits and bits < FULL_DEPTH:
        data.note["remarks"].append(
            f"16-bit grey files hold {bits} bits: no value outside the test data exceeds {2**bits - 1}; "
            f"all are scaled by {bits} bits, greater values to white"
        )
    return data


def _require_readable(packed: "PackedSamples", task: "Task") -> None:
    params: PrepareImages = task.params.prepare
    problems = list(zip(packed.unreadable["id"], packed.unreadable["problem"], strict=True))
    if params.unreadable == "refuse":
        refuse_problems(problems, params.path, task.key("prepare.unreadable"))
    if packed.samples.empty:
        raise UserError(
            f"{params.path}: none of {len(problems)} files is a readable image: "
            f"{summarise_problems(problems)}"
        )
