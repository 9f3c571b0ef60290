"""The interface of a source of images."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stages.datasets.ledger import SourceNote


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
    """A source's images, read as they are iterated over, and its part of the dataset note."""

    samples: Iterable[ImageSample]
    note: SourceNote
