"""The packed array that a source's images become, read by memory map."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from stages.shared.files import sha256, writing
from stages.shared.packing import Ledger, Packed
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.images.source import Picture

_VALUES = 16_000_000  # pixels held as floats at once


def pack(pictures: "Iterable[Picture]", shape: tuple[int, int, int], path: Path) -> Packed:
    """Write the readable, distinct images of a source into one .npy file, (row, channel, h, w).

    Memory stays flat: images go to the file as they come.
    """
    ledger = Ledger()
    with writing(path) as file:
        _header(file, (0, *shape))
        for picture in pictures:
            if picture.pixels is None:
                ledger.leave_out(picture.name, picture.label, picture.problem)
                continue
            data = picture.pixels.tobytes()
            names = (picture.name, picture.label, picture.group)
            if ledger.keep(*names, data, official_test=picture.official_test):
                file.write(data)
        file.seek(0)
        _header(file, (len(ledger), *shape))
    return ledger.closed(sha256(path))


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # numpy pads the header so that the first axis can grow without moving the data.
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def in_parts(rows: np.ndarray, images: np.ndarray, most: int = 8192) -> Iterator[np.ndarray]:
    """Yield `rows` in parts of at most `most`, and of few enough large images to hold as floats."""
    size = max(1, min(most, _VALUES // int(np.prod(images.shape[1:]))))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def block_means(images: np.ndarray, side: int) -> np.ndarray:
    """Return images shrunk to at most `side` by `side` by the means of blocks, float32, 0 to 1.

    Args:
        images: (n, channel, height, width), uint8.
        side: the most blocks across and down; images that are no larger stay as they are.

    Returns:
        (n, channel, blocks down, blocks across).
    """
    means = images.astype(np.float32) / 255
    for axis in (2, 3):
        edges = block_edges(images.shape[axis], side)
        shape = [-1 if other == axis else 1 for other in range(4)]
        widths = np.diff(edges).astype(np.float32).reshape(shape)
        means = np.add.reduceat(means, edges[:-1], axis=axis) / widths
    return means


def block_edges(length: int, blocks: int) -> np.ndarray:
    """Return where at most `blocks` blocks along a side of `length` pixels begin, and the end."""
    return np.linspace(0, length, min(blocks, length) + 1).astype(int)


def opened(path: Path) -> np.ndarray:
    """Return the packed array by memory map, (row, channel, height, width), uint8.

    Raises:
        Refusal: it is missing or damaged.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise Refusal(f"{path} is missing; make it with `dvc repro`") from None
    except (ValueError, EOFError) as error:
        raise Refusal(f"{path} is damaged ({error}); make it again with `dvc repro`") from None
    return array
