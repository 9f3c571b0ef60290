"""A Gaussian for each class: the simplest generative baseline."""

import numpy as np

from stages.core.runtime import seed_for
from stages.kinds.image_generation.inputs import Sampler, flat_to_pixels


def fit_gaussians(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int, principal_axes: int
) -> dict[str, np.ndarray]:
    """Return for each class the mean and a factor of the covariance, `mean_0`, `factor_0`, ...

    The rows of the factor (axes, values) are the principal axes of the class's images, scaled by
    their standard deviation.

    Args:
        images: the packed array.
        rows: of the images to fit.
        labels: (n,), of these images.
        classes: how many; each has an image.
        principal_axes: the largest ones to keep.
    """
    gaussians = {}
    for label in range(classes):
        members = rows[labels == label]
        pixels = images[members].reshape(len(members), -1) / np.float32(255)
        mean = pixels.mean(axis=0)
        _, scales, axes = np.linalg.svd(
            (pixels - mean) / np.sqrt(max(1, len(pixels) - 1)), full_matrices=False
        )
        factor = (scales[:, None] * axes)[:principal_axes]
        gaussians[f"mean_{label}"] = mean.astype(np.float32)
        gaussians[f"factor_{label}"] = factor.astype(np.float32)
    return gaussians


def gaussian_sampler(gaussians: dict[str, np.ndarray], shape: tuple[int, int, int]) -> Sampler:
    """Return (labels, seed) -> samples, uint8 (n, channel, height, width).

    Args:
        gaussians: as `fit_gaussians` returns them.
        shape: of one image.
    """

    def draw(labels: np.ndarray, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed_for(seed, "noise"))
        values = np.zeros((len(labels), int(np.prod(shape))))
        for label in np.unique(labels):
            factor = gaussians[f"factor_{label}"]
            noise = random.standard_normal(((labels == label).sum(), len(factor)))
            values[labels == label] = gaussians[f"mean_{label}"] + noise @ factor
        return flat_to_pixels(values, shape)

    return draw
