"""Near duplicates: images that differ by less than a stated amount."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

_SIDE = 4
_AT_ONCE = 8192


def _sketches(images: np.ndarray) -> np.ndarray:
    """Return block means, scaled so that no distance grows: (n, channels x 16), float32, 0 to 1.

    The mean over a block of b pixels, times sqrt(b), is an orthogonal projection of the image: two
    sketches are never further apart than their images, so a search among sketches misses none.
    """
    count, channels, height, width = images.shape
    rows = np.linspace(0, height, _SIDE + 1).astype(int)
    columns = np.linspace(0, width, _SIDE + 1).astype(int)
    areas = np.sqrt(np.outer(np.diff(rows), np.diff(columns)))
    sketches = np.empty((count, channels, _SIDE, _SIDE), dtype=np.float32)
    for start in range(0, count, _AT_ONCE):
        part = images[start : start + _AT_ONCE].astype(np.float32) / 255
        sums = np.add.reduceat(np.add.reduceat(part, rows[:-1], axis=2), columns[:-1], axis=3)
        sketches[start : start + _AT_ONCE] = sums / areas
    return sketches.reshape(count, -1)


def near_pairs(images: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of images whose root mean square difference is at most `threshold`.

    Args:
        images: (n, channel, height, width), uint8; read in parts, so a memory map will do.
        threshold: a share of the range (0.05 is 13 of 255).

    Returns:
        pairs: (m, 2), the smaller index first, sorted.
        differences: (m,), the root mean square difference of each.
    """
    if threshold <= 0 or len(images) < 2:  # noqa: PLR2004
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    pixels = int(np.prod(images.shape[1:]))
    reach = threshold * np.sqrt(pixels) * (1 + 1e-6)
    pairs = cKDTree(_sketches(images)).query_pairs(reach, output_type="ndarray")
    differences = np.empty(len(pairs))
    for start in range(0, len(pairs), _AT_ONCE):
        part = pairs[start : start + _AT_ONCE]
        change = (images[part[:, 0]].astype(np.float32) - images[part[:, 1]]) / 255
        differences[start : start + _AT_ONCE] = np.sqrt((change**2).mean(axis=(1, 2, 3)))
    near = differences <= threshold
    pairs, differences = pairs[near], differences[near]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order].astype(np.int64), differences[order]


def families(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return for each of `count` images the family that `pairs` tie it to, (count,) of integers."""
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: np.ndarray = connected_components(graph, directed=False)[1]
    return labels
