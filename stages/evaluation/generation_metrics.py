"""Metrics of generated samples: quality, diversity and copying.

Most compare features (n, width) of two sets of images; copying is measured in pixels. None means
anything alone: each is reported beside what real images score, and what copies of the training images
score.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stages.datasets.dataset import Dataset

_CHUNK_MB = 64  # of a table of distances, computed a few rows at a time


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to two sets of features.

    Heusel et al. (2017), equation 6. The trace of the covariances' geometric mean is the sum of the
    singular values of the product of the centred sets, which needs no matrix square root. The bias
    grows as sets shrink (Chong and Forsyth, 2020): compare only distances of the same n.

    Args:
        first: (n, width), n at least 2.
        second: (m, width), m at least 2.
    """
    centred = [features - features.mean(axis=0) for features in map(_as_float, (first, second))]
    scaled = [features / np.sqrt(len(features) - 1) for features in centred]
    shift = first.mean(axis=0, dtype=float) - second.mean(axis=0, dtype=float)
    # tr((AB)^1/2) for A = FᵀF and B = SᵀS is the sum of the singular values of F Sᵀ; QR keeps
    # that product as small as the features are wide.
    factors = [np.asarray(np.linalg.qr(features, mode="r")) for features in scaled]
    overlap = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    variance = (scaled[0] ** 2).sum() + (scaled[1] ** 2).sum()
    return float(shift @ shift + variance - 2 * overlap)


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the squared kernel distance (maximum mean discrepancy), unbiased; it may be below 0.

    Cubic polynomial kernel of Bińkowski et al. (2018), section 4, over whole sets. It is unbiased for
    independent draws; sets with fixed class proportions are more alike than that and score below 0:
    compare with the distance of real images.

    Args:
        first: (n, width), n at least 2.
        second: (m, width), m at least 2.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    def within(features: np.ndarray) -> float:
        similarity, count = polynomial_kernel(features), len(features)
        return float((similarity.sum() - np.trace(similarity)) / (count * (count - 1)))

    first, second = _as_float(first), _as_float(second)
    across = float(polynomial_kernel(first, second).mean())
    return within(first) + within(second) - 2 * across


def neighbour_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Return each point's distance to its k-th nearest other point, (n,).

    Args:
        features: (n, width).
        k: at least 1.

    Raises:
        ValueError: there are at most k points.
    """
    from sklearn.metrics import pairwise_distances_chunked

    if len(features) <= k:
        raise ValueError(f"{len(features)} samples have no {k}th neighbours")
    # A point's distance to itself is 0, the smallest of its row, so that the k-th other is at k.
    parts = pairwise_distances_chunked(
        _as_float(features),
        reduce_func=lambda distances, _: np.partition(distances, k, axis=1)[:, k],
        working_memory=_CHUNK_MB,
    )
    return np.concatenate(list(parts))


def manifold_metrics(real: np.ndarray, samples: np.ndarray, k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage of `samples` against `real`.

    Precision: share of samples within the neighbourhood of a real image; recall: share of real images
    within that of a sample (Kynkäänniemi et al., 2019, section 2). Density: neighbourhoods of real
    images that a sample lies in, divided by k; coverage: share of real images with a sample in their
    neighbourhood (Naeem et al., 2020, section 3), which outliers among the samples cannot raise.

    Args:
        real: (n, width).
        samples: (m, width).
        k: a neighbourhood reaches to the k-th nearest neighbour of the same set.

    Raises:
        ValueError: a set has at most k members.
    """
    from sklearn.metrics import pairwise_distances_chunked

    real_radii, sample_radii = neighbour_radii(real, k), neighbour_radii(samples, k)
    precise = np.zeros(len(samples), dtype=bool)
    recalled, containing, covered, start = 0, 0, 0, 0
    for distances in pairwise_distances_chunked(
        _as_float(real), _as_float(samples), working_memory=_CHUNK_MB
    ):
        stop = start + len(distances)
        inside = distances <= real_radii[start:stop, None]
        precise |= inside.any(axis=0)
        covered += int(inside.any(axis=1).sum())
        containing += int(inside.sum())
        recalled += int((distances <= sample_radii).any(axis=1).sum())
        start = stop
    return {
        "precision": float(precise.mean()),
        "recall": recalled / len(real),
        "density": containing / (k * len(samples)),
        "coverage": covered / len(real),
    }


def nearest_training_image(
    samples: np.ndarray, training_parts: Iterable[np.ndarray], exclude: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each sample's nearest training image and its distance, (n,) each.

    Args:
        samples: (n, values).
        training_parts: the training images in order, in parts (m, values), so that memory stays flat.
        exclude: (n,), for each sample the index of a training image to ignore: itself.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = np.zeros(len(samples), dtype=np.int64)
    nearest_distance = np.full(len(samples), np.inf)
    queries, start = _as_float(samples), 0
    for part in training_parts:
        count = min(len(part), 1 if exclude is None else 2)
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(_as_float(part))
        distances, indices = search.kneighbors(queries)
        indices += start
        if exclude is not None:
            distances[indices == exclude[:, None]] = np.inf
        best = distances.argmin(axis=1)[:, None]
        distance = np.take_along_axis(distances, best, axis=1)[:, 0]
        index = np.take_along_axis(indices, best, axis=1)[:, 0]
        nearest = np.where(distance < nearest_distance, index, nearest)
        nearest_distance = np.minimum(nearest_distance, distance)
        start += len(part)
    return nearest, nearest_distance


def nearest_other(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of each point's nearest other point and its distance, (n,) each.

    Args:
        features: (n, width), n at least 2.
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(_as_float(features))
    distances, indices = search.kneighbors()
    return indices[:, 0], distances[:, 0]


def data_copying_score(distances: np.ndarray, real_distances: np.ndarray) -> float:
    """Return the chance that a sample lies closer to the training images than a held-out real image.

    The Mann-Whitney statistic of Meehan et al. (2020), section 3, as a share: one half where samples
    are as close as held-out images, near 1 for copies. Ties count half.

    Args:
        distances: (n,), of samples to their nearest training image.
        real_distances: (m,), of held-out real images.
    """
    from scipy.stats import rankdata

    count = len(real_distances)
    ranks = rankdata(np.concatenate([real_distances, distances]))[:count]
    wins = ranks.sum() - count * (count + 1) / 2
    return float(wins / (len(distances) * count))


def balanced_labels(dataset: "Dataset", count: int) -> np.ndarray:
    """Return `count` labels in the proportions of the training split, (count,), int64.

    The classes alternate: the first k labels, for any k, are nearly in proportion too.
    """
    shares = np.bincount(dataset.labels("train"), minlength=len(dataset.classes)).astype(float)
    shares /= shares.sum()
    deficit = np.zeros(len(shares))
    labels = np.zeros(count, dtype=np.int64)
    for index in range(count):
        deficit += shares
        labels[index] = deficit.argmax()
        deficit[labels[index]] -= 1
    return labels


def sharpness(images: np.ndarray) -> np.ndarray:
    """Return the root mean square difference of neighbouring pixels, as a share of the range, (n,).

    Args:
        images: (n, channel, height, width), uint8.
    """
    values = images.astype(np.float32) / 255
    across, down = np.diff(values, axis=3), np.diff(values, axis=2)
    mean: np.ndarray = (across**2).mean(axis=(1, 2, 3)) + (down**2).mean(axis=(1, 2, 3))
    return np.sqrt(mean / 2)


def _as_float(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=float)
