"""The packed array: all images of a dataset in one file, read by memory map."""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from stages.core.errors import UserError
from stages.core.files import atomic_writer, sha256
from stages.datasets.ledger import PackedSamples, PackingLedger

if TYPE_CHECKING:
    from stages.datasets.images.sample import ImageSample

_BATCH_VALUES = 16_000_000  # pixels that are in memory as floats at the same time


def pack_images(
    samples: "Iterable[ImageSample]", shape: tuple[int, int, int], path: Path
) -> PackedSamples:
    """Write the readable, distinct images of a source into one .npy file, (row, channel, h, w).

    Each image is written as it is read, so memory use does not grow with their number.
    """
    ledger = PackingLedger()
    with atomic_writer(path) as file:
        _write_header(file, (0, *shape))
        for sample in samples:
            if sample.pixels is None:
                ledger.exclude(sample.name, sample.label, sample.problem)
                continue
            data = sample.pixels.tobytes()
            names = (sample.name, sample.label, sample.group)
            if ledger.add(*names, data, official_split=sample.official_split):
                file.write(data)
        file.seek(0)
        _write_header(file, (len(ledger), *shape))
    return ledger.finish(sha256(path))


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    # numpy pads the header, so its length is the same for any number of rows.
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )


def open_packed(path: Path) -> np.ndarray:
    """Return the packed array as a memory map, (row, channel, height, width), uint8.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; make it with `dvc repro`") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); make it again with `dvc repro`") from None
    return array


def batch_size(images: np.ndarray, largest: int = 8192) -> int:
    """Return how many images a batch has: at most `largest`, fewer where the images are large."""
    return max(1, min(largest, _BATCH_VALUES // int(np.prod(images.shape[1:]))))


def in_batches(rows: np.ndarray, images: np.ndarray, largest: int = 8192) -> Iterator[np.ndarray]:
    """Yield `rows` in batches of `batch_size`.

    After each batch the pages of a memory map are given back, so that memory stays flat.
    """
    size = batch_size(images, largest)
    memory: object = images.base
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
        if isinstance(memory, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            memory.madvise(mmap.MADV_DONTNEED)  # they stay in the system's cache of files


def block_means(images: np.ndarray, side: int) -> np.ndarray:
    """Return images reduced to at most `side` by `side` blocks, by their means, float32, 0 to 1.

    Args:
        images: (n, channel, height, width), uint8.
        side: the largest number of blocks across and down; smaller images keep their pixels.

    Returns:
        (n, channel, blocks down, blocks across).
    """
    means = images.astype(np.float32) / 255
    for axis in (2, 3):
        if images.shape[axis] <= side:
            continue  # each block is a pixel
        edges = block_edges(images.shape[axis], side)
        shape = [-1 if index == axis else 1 for index in range(4)]
        widths = np.diff(edges).astype(np.float32).reshape(shape)
        means = np.add.reduceat(means, edges[:-1], axis=axis) / widths
    return means


def block_edges(length: int, blocks: int) -> np.ndarray:
    """Return the edges of at most `blocks` blocks along a side of `length` pixels, (blocks + 1,), int."""
    return np.linspace(0, length, min(blocks, length) + 1).astype(int)
