"""The image files of a folder, decoded one by one: pixels, or the reason why there are none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.errors import UserError
from stages.datasets.images.files import (
    GreyDepth,
    UnknownDepthError,
    map_in_threads,
    read_first_frame,
)


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """An image file after decoding.

    Attributes:
        pixels: uint8, (channel, height, width); None where it could not be read.
        problem: why it could not be read.
        has_further_frames: whether it holds more than the first frame.
    """

    pixels: np.ndarray | None
    problem: str = ""
    has_further_frames: bool = False


@dataclass(frozen=True)
class Decoder:
    """How the files of a folder are decoded.

    Attributes:
        root: the folder.
        size: pixels a side.
        channels: 1 or 3.
        max_pixels: that a file may claim.
        depth: of 16-bit grey; None: not known yet.
    """

    root: Path
    size: int
    channels: int
    max_pixels: int
    depth: GreyDepth | int | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of a decoded image, (channel, height, width)."""
        return self.channels, self.size, self.size

    def decode(self, path: str) -> DecodedFile:
        """Return the file `path`, which is below the folder.

        Raises:
            UserError: it changes while it is read.
            UnknownDepthError: it is 16-bit grey, and no depth is known.
        """
        file = self.root / path
        before = file_state(file)
        try:
            pixels, has_more = read_first_frame(
                file, self.size, self.channels, self.max_pixels, self.depth
            )
        except UnknownDepthError:
            raise
        except ValueError as error:
            decoded = DecodedFile(None, str(error))
        else:
            decoded = DecodedFile(pixels, has_further_frames=has_more)
        if file_state(file) != before:
            raise UserError(changed(file))
        return decoded

    def decode_all(self, paths: Sequence[str], threads: int) -> Iterator[DecodedFile]:
        """Yield files in their order, decoded by several threads; errors are those of `decode`."""
        if threads == 1:
            return map(self.decode, paths)
        return map_in_threads(self.decode, paths, threads)  # decoders release the interpreter lock


def file_state(path: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file, None where it cannot be found."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def changed(path: Path) -> str:
    """Return the error of a file that changes while it is read."""
    return f"{path} changed while it was read; run again once nothing writes to it"
