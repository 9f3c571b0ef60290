"""A source of images: a data set that torchvision downloads."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.core.errors import UserError, printable
from stages.core.progress import progress
from stages.datasets.images.files import fit_image
from stages.datasets.images.sample import ImageSample, ImageSource
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import PrepareImages
    from stages.core.task import Task


def torchvision_source(task: "Task") -> ImageSource:
    """Return the data set `prepare.dataset`; its official test images are marked as test data.

    Raises:
        UserError: it cannot be downloaded, or its files are damaged.
    """
    params: PrepareImages = task.params.prepare
    train, test = (_load(task, train=train) for train in (True, False))

    def samples() -> Iterator[ImageSample]:
        for part, dataset in (("test", test), ("train", train)):
            for index, (image, label) in enumerate(zip(dataset.data, dataset.targets, strict=True)):
                pixels = Image.fromarray(np.asarray(image))
                yield ImageSample(
                    f"{part}-{index:05}",
                    str(dataset.classes[int(label)]),
                    official_split=part,
                    pixels=fit_image(pixels, params.size, params.channels),
                )

    note = SourceNote(
        origin=f"{params.dataset}, by torchvision's loader with its checksums; the official test data "
        "are the test split",
        licence="as stated by the authors of the data set",
        label_rules="the class in the data set",
    )
    count = len(train.data) + len(test.data)
    return ImageSource(progress(samples(), "reading images", count), note)


def _load(task: "Task", *, train: bool) -> Any:
    """Return the official training or test data as torchvision's dataset, downloaded if needed."""
    from torchvision import datasets

    params: PrepareImages = task.params.prepare
    try:
        dataset = getattr(datasets, str(params.dataset))(params.path, train=train, download=True)
    except (RuntimeError, OSError, ValueError, AssertionError, EOFError, KeyError) as error:
        raise UserError(
            f"{params.dataset} could not be downloaded to {params.path} ({printable(str(error))}); "
            "connect to the network and run again, put its files there, or change "
            f"{task.key('prepare.source')}"
        ) from None
    labels = np.asarray(dataset.targets)
    if len(labels) != len(dataset.data) or labels.min() < 0 or labels.max() >= len(dataset.classes):
        raise UserError(
            f"{params.dataset} in {params.path}: the labels do not fit the images; delete the files and "
            "run again"
        )
    return dataset
