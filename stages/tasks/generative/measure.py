"""How good samples are: alike real images, diverse, of the class asked for, and no copies.

Each measure takes features (n, width) from the judge, a classifier trained on the training split
alone, or pixels where copying is asked. None says anything alone: beside each stands what real
images give, and what copies of the training images give.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.dataset import Dataset
from stages.shared.images.network import asked
from stages.shared.images.packed import block_means, in_parts
from stages.shared.refusal import Refusal
from stages.shared.runtime import seed_for
from stages.shared.weights import judged

if TYPE_CHECKING:
    from stages.shared.images.network import Classifier
    from stages.shared.schema import EvaluateFlow

SIDE = 16  # copying is looked for in images of at most this many blocks a side
REFERENCE = 5000  # real images of a split that samples are held against, at most
LOW = 0.05  # quantile of real images' sharpness below which a sample is blurred
_TRAINING = 2000  # training images that distances are taken to at once


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Fréchet distance between Gaussians fitted to two sets of features.

    Squared, as Heusel et al. (2017), equation 6, give it. The trace of the covariances' geometric
    mean is taken from the singular values of the product of the centred sets, which needs no
    square root of a matrix. Its bias grows as sets shrink (Chong and Forsyth, 2020): compare only
    what has the same n.
    """
    first, second = (set_ - set_.mean(axis=0) for set_ in (one.astype(float), other.astype(float)))
    first, second = first / np.sqrt(len(one) - 1), second / np.sqrt(len(other) - 1)
    shift = one.mean(axis=0, dtype=float) - other.mean(axis=0, dtype=float)
    # tr((AB)^1/2) for A = FᵀF and B = SᵀS is the sum of the singular values of F Sᵀ; QR keeps
    # that product as small as the features are wide.
    upper = [np.asarray(np.linalg.qr(set_, mode="r")) for set_ in (first, second)]
    shared = np.linalg.svd(upper[0] @ upper[1].T, compute_uv=False).sum()
    spread = (first**2).sum() + (second**2).sum()
    return float(shift @ shift + spread - 2 * shared)


def kernel(one: np.ndarray, other: np.ndarray) -> float:
    """Return the squared kernel distance (maximum mean discrepancy), unbiased; it may be below 0.

    The cubic polynomial kernel of Bińkowski et al. (2018), section 4, over whole sets. It is unbiased
    for independent draws; sets that hold the classes in fixed shares are more alike than that, and
    score below 0: compare with what real images give.
    """
    width = one.shape[1]

    def similar(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        cubed: np.ndarray = (left.astype(float) @ right.T.astype(float) / width + 1) ** 3
        return cubed

    def within(set_: np.ndarray) -> float:
        table, count = similar(set_, set_), len(set_)
        return float((table.sum() - np.trace(table)) / (count * (count - 1)))

    return within(one) + within(other) - 2 * float(similar(one, other).mean())


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Euclidean distances, (n, m), float64."""
    left, right = one.astype(float), other.astype(float)
    squared = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    roots: np.ndarray = np.sqrt(np.maximum(squared, 0))
    return roots


def neighbourhoods(real: np.ndarray, k: int) -> np.ndarray:
    """Return each real sample's distance to its k-th nearest other real one, (n,).

    Raises:
        ValueError: there are not more than k.
    """
    if len(real) <= k:
        raise ValueError(f"{len(real)} samples have no {k}th neighbours")
    table = distances(real, real)
    np.fill_diagonal(table, -1)  # itself, always first, even among equals
    radii: np.ndarray = np.partition(table, k, axis=1)[:, k]
    return radii


def manifold(real: np.ndarray, samples: np.ndarray, k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage of `samples` against `real`.

    Precision: share of samples within a real one's neighbourhood; recall: share of real ones
    within a sample's (Kynkäänniemi et al., 2019, section 2). Density: neighbourhoods a sample lies
    in, over k; coverage: share of real ones with a sample in theirs (Naeem et al., 2020, section 3),
    which outliers among the samples cannot raise.

    Args:
        real: (n, width).
        samples: (m, width).
        k: neighbours that make a neighbourhood.
    """
    table = distances(real, samples)
    inside = table <= neighbourhoods(real, k)[:, None]
    around = table <= neighbourhoods(samples, k)
    return {
        "precision": float(inside.any(axis=0).mean()),
        "recall": float(around.any(axis=1).mean()),
        "density": float(inside.sum() / (k * len(samples))),
        "coverage": float(inside.any(axis=1).mean()),
    }


def nearest(
    samples: np.ndarray, training: Iterable[np.ndarray], but: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return each sample's nearest training image and how far it is, (n,) each.

    Args:
        samples: (n, values).
        training: parts of the training images, (m, values) each, in their order.
        but: (n,), for each sample a training image that does not count: itself.
    """
    place = np.zeros(len(samples), dtype=np.int64)
    gap = np.full(len(samples), np.inf)
    done = 0
    for part in training:
        table = distances(samples, part)
        if but is not None:
            own = np.flatnonzero((but >= done) & (but < done + len(part)))
            table[own, but[own] - done] = np.inf
        best = table.argmin(axis=1)
        found = table[np.arange(len(samples)), best]
        place = np.where(found < gap, done + best, place)
        gap = np.minimum(gap, found)
        done += len(part)
    return place, gap


def closer(gaps: np.ndarray, real_gaps: np.ndarray) -> float:
    """Return the chance that a sample lies closer to the training images than a held-out real one.

    The Mann-Whitney statistic of Meehan et al. (2020), section 3, as a share: one half where
    samples lie as held-out ones do, near 1 where they are copies. Ties count half.

    Args:
        gaps: (n,), distances to the nearest training image.
        real_gaps: (m,), those of held-out real images.
    """
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([real_gaps, gaps]))[: len(real_gaps)]
    above = ranks.sum() - len(real_gaps) * (len(real_gaps) + 1) / 2
    return float(above / (len(gaps) * len(real_gaps)))


def asked_labels(dataset: Dataset, count: int) -> np.ndarray:
    """Return `count` labels, the classes in turn, as often as in the training split, (count,).

    Any run from the start holds the classes nearly in proportion.
    """
    shares = np.bincount(dataset.labels("train"), minlength=len(dataset.classes)).astype(float)
    shares /= shares.sum()
    due = np.zeros(len(shares))
    labels = np.zeros(count, dtype=np.int64)
    for index in range(count):
        due += shares
        labels[index] = due.argmax()
        due[labels[index]] -= 1
    return labels


@dataclass(frozen=True)
class Seen:
    """What the judge and the training images say of some images.

    Attributes:
        features: (n, width).
        probabilities: (n, classes), the judge's.
        neighbours: (n,), the packed array's row of the nearest training image.
        gaps: (n,), root mean square difference to it, as a share of the range.
    """

    features: np.ndarray
    probabilities: np.ndarray
    neighbours: np.ndarray
    gaps: np.ndarray


def looked_at(
    judge: "Classifier",
    packed: np.ndarray,
    training: np.ndarray,
    images: np.ndarray,
    rows: np.ndarray | None = None,
) -> Seen:
    """Return what the judge and the training images say of some images.

    Args:
        judge: the trained judge.
        packed: the packed array.
        training: (m,), the rows of its training images.
        images: (n, channel, height, width), uint8.
        rows: which of them; all, if none are named.
    """
    rows = np.arange(len(images)) if rows is None else rows
    flat = np.concatenate([_flat(images[part]) for part in in_parts(rows, images)])
    place, gaps = nearest(flat, _parts(packed, training))
    features = asked(judge.embed, images, rows, next(judge.parameters()).device)
    rms = gaps / np.sqrt(flat.shape[1])
    return Seen(features, judged(judge.head, features), training[place], rms)


def among_others(seen: Seen, packed: np.ndarray, training: np.ndarray, place: np.ndarray) -> Seen:
    """Return what is said of training images when the others alone are their neighbours.

    Args:
        seen: what is said of them.
        packed: the packed array.
        training: (m,), the rows of its training images.
        place: (n,), which of these they are.
    """
    parts = in_parts(training[place], packed)
    flat = np.concatenate([_flat(packed[part]) for part in parts])
    near, gaps = nearest(flat, _parts(packed, training), place)
    rms = gaps / np.sqrt(flat.shape[1])
    return Seen(seen.features, seen.probabilities, training[near], rms)


def _parts(packed: np.ndarray, training: np.ndarray) -> Iterator[np.ndarray]:
    for part in in_parts(training, packed, _TRAINING):
        yield _flat(packed[part])


class Yardstick:
    """One split's real images, against which samples are measured.

    Args:
        judge: the trained judge.
        dataset: the prepared samples.
        images: the packed array.
        split: whose images samples are held against: at most 5,000, drawn at random.
        params: neighbours, and the share of real images that counts as close.
    """

    def __init__(
        self,
        judge: "Classifier",
        dataset: Dataset,
        images: np.ndarray,
        split: str,
        params: "EvaluateFlow",
    ) -> None:
        self.judge, self.images, self.params, self.split = judge, images, params, split
        self.training = dataset.rows("train")
        drawn = dataset.draw(split, REFERENCE, seed_for("reference", split))
        self.labels = dataset.labels(split)[drawn]
        rows = dataset.rows(split)[drawn]
        if len(rows) <= params.neighbours:
            raise Refusal(
                f"{len(rows)} {split} images have no {params.neighbours} neighbours each; add images, or "
                "lower evaluate.neighbours"
            )
        self.real = self.seen(images, rows)
        self.sharpness = np.concatenate([sharpness(images[p]) for p in in_parts(rows, images)])
        self.close = float(np.quantile(self.real.gaps, params.close_share))

    def seen(self, images: np.ndarray, rows: np.ndarray | None = None) -> Seen:
        """Return what the judge and the training images say of `images`, or of those at `rows`."""
        return looked_at(self.judge, self.images, self.training, images, rows)

    def figures(self, seen: Seen, labels: np.ndarray) -> dict[str, float]:
        """Return the measures of samples of which `labels` were asked, named with the split.

        Returns:
            frechet, kernel (lower is better), precision, recall, density, coverage,
            label_agreement (higher is better), copied (share of samples closer to a training image
            than all but `close_share` of this split's real images) and closer (see `closer`).
        """
        real = self.real
        right = seen.probabilities.argmax(axis=1) == labels
        return {
            f"frechet_{self.split}": frechet(seen.features, real.features),
            f"kernel_{self.split}": kernel(seen.features, real.features),
            **{
                f"{name}_{self.split}": value
                for name, value in manifold(
                    real.features, seen.features, self.params.neighbours
                ).items()
            },
            "label_agreement": float(right.mean()),
            "copied": float((seen.gaps < self.close).mean()),
            "closer": closer(seen.gaps, real.gaps),
        }


def sharpness(images: np.ndarray) -> np.ndarray:
    """Return how much neighbouring pixels differ, the root mean square as a share of the range, (n,).

    Args:
        images: (n, channel, height, width), uint8.
    """
    values = images.astype(np.float32) / 255
    across, down = np.diff(values, axis=3), np.diff(values, axis=2)
    mean: np.ndarray = (across**2).mean(axis=(1, 2, 3)) + (down**2).mean(axis=(1, 2, 3))
    return np.sqrt(mean / 2)


def _flat(images: np.ndarray) -> np.ndarray:
    return block_means(images, SIDE).reshape(len(images), -1)
