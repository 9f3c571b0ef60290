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
_QUERIES = 16_384  # images whose neighbours are looked up at a time
_NEIGHBOURS = 16  # that the first search finds at most; images with more are searched again
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
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    total = 0
    for start in progress(range(0, len(images), _QUERIES), "comparing images"):
        queries = np.arange(start, min(start + _QUERIES, len(images)))
        verified = []
        for first, second in _candidates(tree, sketches, queries, radius):
            verified.append(_verify(images, first, second, threshold))
            total += len(verified[-1][0])
            if total > _MAX_PAIRS:
                raise UserError(
                    f"more than {_MAX_PAIRS:,} pairs of images differ by at most {threshold:g}, too many "
                    f"to be near duplicates; lower {key}"
                )
        pairs, differences = (np.concatenate(part) for part in zip(*verified, strict=True))
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        parts.append((pairs[order], differences[order]))
    pairs, differences = (np.concatenate(part) for part in zip(*parts, strict=True))
    return pairs, differences


def _candidates(
    tree: cKDTree, sketches: np.ndarray, queries: np.ndarray, radius: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of images whose sketches are within `radius`, each once: first and second, (m,) each.

    The first is one of `queries`, rows of the sketches; its second comes after it.
    """
    count = min(_NEIGHBOURS, tree.n)
    # The search finds what is closer than its bound, not what is at it.
    bound = radius * (1 + 1e-5)
    _, neighbours = tree.query(
        sketches[queries], count, distance_upper_bound=bound, workers=-1
    )  # tree.n where there are fewer
    crowded = (neighbours[:, -1] < tree.n) & (count < tree.n)
    first = np.repeat(queries[~crowded], count)
    second = neighbours[~crowded].ravel()
    ordered = (second > first) & (second < tree.n)
    yield first[ordered], second[ordered]
    crowded_queries = queries[crowded]
    if not len(crowded_queries):
        return
    points = sketches[crowded_queries]
    # Counted first, so that each batch has a bounded number of candidates.
    counts = tree.query_ball_point(points, radius, return_length=True, workers=-1)
    for start, stop in _query_batches(counts):
        lists = tree.query_ball_point(points[start:stop], radius, workers=-1)
        first = np.repeat(crowded_queries[start:stop], counts[start:stop])
        second = np.concatenate([np.asarray(indices, dtype=np.int64) for indices in lists])
        ordered = second > first
        yield first[ordered], second[ordered]


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
