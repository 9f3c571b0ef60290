"""Near duplicates: images that differ by less than a stated amount."""

from collections.abc import Iterator

import numpy as np
from scipy.spatial import cKDTree

from stages.shared.images.packed import block_edges, block_means, in_parts
from stages.shared.refusal import Refusal

_SIDE = 8
_COMPONENTS = 12
_SAMPLE = 5000
_CANDIDATES = 2_000_000
_MOST = 20_000_000


def _sketches(images: np.ndarray) -> np.ndarray:
    """Return each image's main components, no two further apart than their images: (n, at most 12).

    The mean over a block of b pixels, times sqrt(b), is an orthogonal projection of the image, and
    so are principal components of those: a search among sketches misses no near pair. Few
    components, and those of the widest spread, are what a k-d tree can search.
    """
    _, _, height, width = images.shape
    down, across = (np.diff(block_edges(length, _SIDE)) for length in (height, width))
    scale = np.sqrt(np.outer(down, across))

    def blocks(rows: np.ndarray) -> np.ndarray:
        parts = [
            (block_means(images[part], _SIDE) * scale).reshape(len(part), -1)
            for part in in_parts(rows, images)
        ]
        return np.concatenate(parts).astype(np.float32)

    everyone = np.arange(len(images))
    sample = blocks(everyone[:: max(1, len(images) // _SAMPLE)])
    centre = sample.mean(axis=0)
    _, directions = np.linalg.eigh((sample - centre).T @ (sample - centre))
    main = directions[:, ::-1][:, :_COMPONENTS]
    sketches = [(blocks(part) - centre) @ main for part in in_parts(everyone, images)]
    return np.concatenate(sketches)


def near_pairs(images: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of images whose root mean square difference is at most `threshold`.

    Args:
        images: (n, channel, height, width), uint8; read in parts, so a memory map will do.
        threshold: a share of the range (0.05 is 13 of 255).

    Returns:
        pairs: (m, 2), the smaller index first, sorted.
        differences: (m,), the root mean square difference of each.

    Raises:
        Refusal: more than 20 million pairs are that near.
    """
    if threshold <= 0 or len(images) < 2:  # noqa: PLR2004
        return np.empty((0, 2), dtype=np.int64), np.empty(0)
    reach = threshold * np.sqrt(np.prod(images.shape[1:])) * (1 + 1e-5)  # float32
    sketches = _sketches(images)
    tree = cKDTree(sketches)
    # Count first: where many sketches lie close together, so many candidates fit in a part only.
    counts = tree.query_ball_point(sketches, reach, return_length=True, workers=-1)
    found, total = [], 0
    for start, stop in _parts(counts):
        lists = tree.query_ball_point(sketches[start:stop], reach, workers=-1)
        left = np.repeat(np.arange(start, stop), counts[start:stop])
        right = np.concatenate([np.asarray(one, dtype=np.int64) for one in lists])
        once = right > left
        found.append(_verified(images, left[once], right[once], threshold))
        total += len(found[-1][0])
        if total > _MOST:
            raise Refusal(
                f"more than {_MOST:,} pairs of images differ by at most {threshold:g}: that is no "
                "longer a duplicate; lower prepare.near_duplicate"
            )
    pairs = np.concatenate([one for one, _ in found])
    differences = np.concatenate([one for _, one in found])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], differences[order]


def _parts(counts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield runs of queries that have at most about 2 million candidates together."""
    edges = np.flatnonzero(np.diff(np.cumsum(counts) // _CANDIDATES)) + 1
    yield from zip([0, *edges], [*edges, len(counts)], strict=True)


def _verified(
    images: np.ndarray, left: np.ndarray, right: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    differences = np.empty(len(left))
    for part in in_parts(np.arange(len(left)), images):
        change = images[left[part]].astype(np.float32)
        change -= images[right[part]]
        change *= change
        differences[part] = np.sqrt(change.mean(axis=(1, 2, 3))) / 255
    near = differences <= threshold
    return np.stack([left[near], right[near]], axis=1), differences[near]
