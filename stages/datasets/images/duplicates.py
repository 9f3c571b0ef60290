"""Near duplicates: pairs of images that differ by at most a threshold."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from stages.core.errors import UserError
from stages.core.progress import progress
from stages.datasets.images.packed import block_edges, block_means, in_batches

_SIDE = 8  # blocks across and down
_COMPONENTS = 12
_COMPONENT_SAMPLE = 5000  # images from which the principal components are computed
_BATCH_CANDIDATES = 2_000_000
_MAX_PAIRS = 20_000_000


def near_pairs(
    images: np.ndarray, threshold: float, key: str = "the threshold"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of images whose root mean square difference is at most `threshold`.

    Candidates are the pairs whose sketches (`_sketches`) are that close, found with a k-d tree; each is
    then compared pixel by pixel. The result is exact.

    Args:
        images: (n, channel, height, width), uint8; read in batches, so it may be a memory map.
        threshold: share of the range (0.05 is 13 of 255); 0 finds no pair.
        key: the full key of the param that sets the threshold, for the error.

    Returns:
        pairs: (m, 2), the smaller index first, sorted.
        differences: (m,), the root mean square difference of each pair.

    Raises:
        UserError: there are more than 20 million pairs.
    """
    if threshold <= 0 or len(images) < 2:  # noqa: PLR2004
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    # A little wider than the threshold, for the rounding of float32.
    radius = threshold * np.sqrt(np.prod(images.shape[1:])) * (1 + 1e-5)
    sketches = _sketches(images)
    tree = cKDTree(sketches)
    # Counted first, so that each batch has a bounded number of candidates.
    counts = tree.query_ball_point(sketches, radius, return_length=True, workers=-1)
    batches: list[tuple[np.ndarray, np.ndarray]] = []
    total = 0
    for start, stop in progress([*_query_batches(counts)], "comparing images"):
        lists = tree.query_ball_point(sketches[start:stop], radius, workers=-1, return_sorted=True)
        first = np.repeat(np.arange(start, stop), counts[start:stop])
        second = np.concatenate([np.asarray(indices, dtype=np.int64) for indices in lists])
        ordered = second > first  # each pair once, and no image with itself
        batches.append(_verify(images, first[ordered], second[ordered], threshold))
        total += len(batches[-1][0])
        if total > _MAX_PAIRS:
            raise UserError(
                f"more than {_MAX_PAIRS:,} pairs of images differ by at most {threshold:g}, too many to "
                f"be near duplicates; lower {key}"
            )
    pairs, differences = (np.concatenate(part) for part in zip(*batches, strict=True))
    return pairs, differences


def _sketches(images: np.ndarray) -> np.ndarray:
    """Return a vector for each image, (n, at most 12); no two are further apart than their images.

    The means over blocks of b pixels, times sqrt(b), are an orthogonal projection of the image; so are
    principal components of these means. Distances can only shrink, so a search among sketches misses no
    near pair. The few components of largest variance keep the k-d tree fast.
    """
    _, _, height, width = images.shape
    down, across = (np.diff(block_edges(length, _SIDE)) for length in (height, width))
    scale = np.sqrt(np.outer(down, across))

    def blocks(rows: np.ndarray) -> np.ndarray:
        parts = [
            (block_means(images[part], _SIDE) * scale).reshape(len(part), -1)
            for part in in_batches(rows, images)
        ]
        return np.concatenate(parts).astype(np.float32)

    rows = np.arange(len(images))
    sample = blocks(rows[:: max(1, len(images) // _COMPONENT_SAMPLE)])
    centre = sample.mean(axis=0)
    _, directions = np.linalg.eigh((sample - centre).T @ (sample - centre))
    components = directions[:, ::-1][:, :_COMPONENTS]
    sketches = [(blocks(part) - centre) @ components for part in in_batches(rows, images)]
    return np.concatenate(sketches)


def _query_batches(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of queries with about 2 million candidates each."""
    edges = np.flatnonzero(np.diff(np.cumsum(counts) // _BATCH_CANDIDATES)) + 1
    yield from zip([0, *edges], [*edges, len(counts)], strict=True)


def _verify(
    images: np.ndarray, first: np.ndarray, second: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the candidates that are near pairs, (m, 2), and their differences, (m,)."""
    differences = np.empty(len(first))
    for part in in_batches(np.arange(len(first)), images):
        change = images[first[part]].astype(np.float32)
        change -= images[second[part]]
        change *= change
        differences[part] = np.sqrt(change.mean(axis=(1, 2, 3))) / 255
    near = differences <= threshold
    return np.stack([first[near], second[near]], axis=1), differences[near]
