"""Real images as the reference of generated samples, in the features of a reference classifier.

The reference classifier is trained on the training split alone, so that validation and test images are as
new to it as samples are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.core.runtime import seed_for
from stages.datasets.images.packed import block_means, in_batches
from stages.evaluation.generation_metrics import (
    data_copying_score,
    frechet_distance,
    kernel_distance,
    manifold_metrics,
    nearest_training_image,
    sharpness,
)
from stages.training.image_networks import predict_batches
from stages.training.weights import head_probabilities

if TYPE_CHECKING:
    from stages.datasets.dataset import Dataset
    from stages.training.image_networks import ImageClassifier

MAX_REAL_IMAGES = 5000  # of a split that samples are compared with
_BLOCKS_PER_SIDE = (
    16  # images are shrunk to this size, at most, before they are searched for copies
)
_TRAINING_PART = 2000  # training images in memory at once


@dataclass(frozen=True)
class ImageFeatures:
    """Images as the reference classifier and their nearest training images describe them.

    Attributes:
        features: (n, width), of the reference classifier.
        probabilities: (n, classes), of the reference classifier.
        neighbour_rows: (n,), the row of the nearest training image in the packed array.
        nearest_distances: (n,), root mean square difference to it, as a share of the range.
    """

    features: np.ndarray
    probabilities: np.ndarray
    neighbour_rows: np.ndarray
    nearest_distances: np.ndarray

    def label_agreement(self, labels: np.ndarray) -> float:
        """Return the share of images for which the reference classifier predicts `labels`, (n,)."""
        return float((self.probabilities.argmax(axis=1) == labels).mean())

    def label_probabilities(self, labels: np.ndarray) -> np.ndarray:
        """Return the probability of each image's label, (n,), float64."""
        probabilities: np.ndarray = self.probabilities[np.arange(len(labels)), labels]
        return probabilities.astype(float)


def describe_images(
    reference_classifier: "ImageClassifier",
    packed: np.ndarray,
    training_rows: np.ndarray,
    images: np.ndarray,
    rows: np.ndarray | None = None,
) -> ImageFeatures:
    """Return features, probabilities and nearest training images of `images`.

    Args:
        reference_classifier: trained.
        packed: the packed array.
        training_rows: (m,), of its training images.
        images: (n, channel, height, width), uint8.
        rows: of the images to describe; None: all.
    """
    rows = np.arange(len(images)) if rows is None else rows
    blocks = _blocks(images, rows)
    nearest, distances = nearest_training_image(blocks, _training_parts(packed, training_rows))
    device = next(reference_classifier.parameters()).device
    features = predict_batches(reference_classifier.embed, images, rows, device)
    probabilities = head_probabilities(reference_classifier.head, features)
    rms = distances / np.sqrt(blocks.shape[1])
    return ImageFeatures(features, probabilities, training_rows[nearest], rms)


def describe_training_images(
    copies: ImageFeatures, packed: np.ndarray, training_rows: np.ndarray, indices: np.ndarray
) -> ImageFeatures:
    """Return the description of training images of which none is its own nearest training image.

    Args:
        copies: their description by `describe_images`.
        packed: the packed array.
        training_rows: (m,), of its training images.
        indices: (n,), which of `training_rows` are described.
    """
    blocks = _blocks(packed, training_rows[indices])
    parts = _training_parts(packed, training_rows)
    nearest, distances = nearest_training_image(blocks, parts, exclude=indices)
    rms = distances / np.sqrt(blocks.shape[1])
    return ImageFeatures(copies.features, copies.probabilities, training_rows[nearest], rms)


def _training_parts(packed: np.ndarray, training_rows: np.ndarray) -> Iterator[np.ndarray]:
    for part in in_batches(training_rows, packed, _TRAINING_PART):
        yield _blocks(packed, part)


def _blocks(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images at `rows`, shrunk and flat, (n, values), float32, 0 to 1."""
    parts = [block_means(images[part], _BLOCKS_PER_SIDE) for part in in_batches(rows, images)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


class ReferenceSet:
    """The real images of one split, with which samples are compared.

    Attributes:
        labels: (n,), of the real images.
        real: their description.
        sharpness: (n,), of the real images.
        copy_distance: `copy_quantile` of the real images' distances to their nearest training image; a
            sample that is closer counts as a copy.
    """

    def __init__(
        self,
        reference_classifier: "ImageClassifier",
        dataset: "Dataset",
        images: np.ndarray,
        split: str,
        *,
        neighbours: int,
        copy_quantile: float,
    ) -> None:
        """Describe the real images of a split.

        Args:
            reference_classifier: trained.
            dataset: the prepared samples.
            images: the packed array.
            split: of which at most 5,000 images are drawn at random.
            neighbours: k of precision, recall, density and coverage; fewer than real images.
            copy_quantile: see `copy_distance`.
        """
        self._classifier, self._packed, self._split = reference_classifier, images, split
        self._neighbours = neighbours
        self._training_rows = dataset.rows("train")
        drawn = dataset.draw(split, MAX_REAL_IMAGES, seed_for("reference", split))
        rows = dataset.rows(split)[drawn]
        self.labels = dataset.labels(split)[drawn]
        self.real = self.describe(images, rows)
        self.sharpness = np.concatenate(
            [sharpness(images[part]) for part in in_batches(rows, images)]
        )
        self.copy_distance = float(np.quantile(self.real.nearest_distances, copy_quantile))

    def describe(self, images: np.ndarray, rows: np.ndarray | None = None) -> ImageFeatures:
        """Return the description of `images`, or of those at `rows`."""
        return describe_images(self._classifier, self._packed, self._training_rows, images, rows)

    def metrics(self, samples: ImageFeatures, labels: np.ndarray) -> dict[str, float]:
        """Return the metrics of samples that were drawn for `labels`, (n,).

        Returns:
            frechet_SPLIT, kernel_SPLIT (lower is better), precision_SPLIT, recall_SPLIT, density_SPLIT,
            coverage_SPLIT, label_agreement (higher is better), copy_rate (share of samples within the
            copy distance) and data_copying_score.
        """
        real = self.real
        manifold = manifold_metrics(real.features, samples.features, self._neighbours)
        return {
            f"frechet_{self._split}": frechet_distance(samples.features, real.features),
            f"kernel_{self._split}": kernel_distance(samples.features, real.features),
            **{f"{name}_{self._split}": value for name, value in manifold.items()},
            "label_agreement": samples.label_agreement(labels),
            "copy_rate": float((samples.nearest_distances < self.copy_distance).mean()),
            "data_copying_score": data_copying_score(
                samples.nearest_distances, real.nearest_distances
            ),
        }
