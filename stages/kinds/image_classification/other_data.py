"""Image classifiers on other images, for `evidence verify --data`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.datasets.images.folder import folder_source
from stages.datasets.images.layouts import LayoutChoice
from stages.datasets.images.packed import pack_images
from stages.datasets.images.path_groups import match_paths
from stages.kinds.image_classification.evaluate import model_loader

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task
    from stages.datasets.ledger import PackedSamples

__all__ = ["model_loader", "pack"]


def pack(
    task: "Task", path: Path, folder: Path, note: Mapping[str, Any], option: str
) -> "PackedSamples":
    """Pack the images of a folder as prepare would have packed them, with their classes.

    Args:
        task: of which the model is.
        path: of the images, in a layout that `prepare.path` may have.
        folder: gets `images.npy`.
        note: the dataset note of the task: 16-bit grey is scaled as there.
        option: how the user has named the images, for messages.

    Raises:
        UserError: it is no folder in such a layout.
    """
    params: PrepareImages = task.params.prepare
    has_table = params.labels is not None and (path / params.labels.path).is_file()
    changes = {"source": "folder", "path": str(path), "group_pattern": None, "unreadable": "list"}
    prepare = params.model_copy(
        update={**changes, "layout": None, "labels": params.labels if has_table else None}
    )
    choice = LayoutChoice(
        option,
        "a folder that has only one of them",
        "a table with the columns file and label",
        labels=prepare.labels,
        guess=True,
    )
    folder_task = replace(task, params=task.params.model_copy(update={"prepare": prepare}))
    source = folder_source(folder_task, choice, note["grey_bits"], resumable=False)
    shape = (params.channels, params.size, params.size)
    packed = pack_images(source.samples, shape, folder / "images.npy")
    if params.group_pattern is not None:
        _set_groups(packed, params.group_pattern, option)
    return packed


def _set_groups(packed: "PackedSamples", pattern: str, option: str) -> None:
    """Give samples the groups of the task's pattern, where it names one for all of them."""
    matches = match_paths(pattern, packed.samples["id"].tolist(), option)
    if all(match and match[1] for match in matches):
        packed.samples["group"] = [match[1] for match in matches if match]
