"""The interface of a source of images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.datasets.images.files import GreyDepth
from stages.datasets.ledger import SourceNote


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of a folder before it is read, or a row of its table of labels.

    Attributes:
        path: below the folder, with slashes; the table's file and row where the row names no file.
        label: the name of its class, "" where that is unknown.
        group: as of `ImageSample`.
        split: its official split.
        problem: why it cannot be used, "" where nothing is known against it.
    """

    path: str
    label: str
    group: str = ""
    split: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ImageSample:
    """An image of a source, or the reason why it could not be read.

    Attributes:
        name: its id in the source; a file's path below the source's folder.
        label: the name of its class.
        group: what it shares with other samples (a writer); "" where the source names no groups.
        official_split: "train", "validation" or "test" where the source gives it one, or "".
        pixels: uint8, (channel, height, width); None where it could not be read.
        problem: why it could not be read.
    """

    name: str
    label: str
    group: str = ""
    official_split: str = ""
    pixels: np.ndarray | None = None
    problem: str = ""


@dataclass(frozen=True)
class ImageSource:
    """A source of images.

    Attributes:
        samples: its images, read as they are iterated over.
        note: its part of the dataset note; the remarks are complete once all images are read.
        layout: of a folder.
        grey_depth: how 16-bit grey files are scaled, where there may be any.
    """

    samples: Iterable[ImageSample]
    note: SourceNote
    layout: str | None = None
    grey_depth: GreyDepth | None = None
