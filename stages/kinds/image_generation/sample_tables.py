"""Tables of single samples, of real images beside them, and of classes; and the grids that are shown."""

import numpy as np
import pandas as pd

from stages.evaluation.generation_metrics import nearest_other, sharpness
from stages.evaluation.reference_set import ImageFeatures, ReferenceSet

SAMPLES_PER_CLASS = 2  # in a grid
BLUR_QUANTILE = 0.05  # of real images' sharpness, below which a sample is blurred


def sample_table(
    samples: ImageFeatures, pixels: np.ndarray, labels: np.ndarray, seed: int
) -> pd.DataFrame:
    """Return a row a sample.

    `nearest_sample` is the nearest other sample of the same class, in features of the reference
    classifier; -1 where there is none.

    Args:
        samples: their description.
        pixels: (n, channel, height, width), uint8.
        labels: (n,), for which they were drawn.
        seed: with which they were drawn.
    """
    nearest, distance = np.full(len(labels), -1), np.full(len(labels), np.inf)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            index, distance[members] = nearest_other(samples.features[members])
            nearest[members] = members[index]
    return pd.DataFrame(
        {
            "id": [f"seed-{seed}-sample-{index:04}" for index in range(len(labels))],
            "label": labels,
            "predicted": samples.probabilities.argmax(axis=1),
            "confidence": samples.probabilities.max(axis=1).astype(float),
            "label_probability": samples.label_probabilities(labels),
            "neighbour_row": samples.neighbour_rows,
            "nearest_distance": samples.nearest_distances,
            "sharpness": sharpness(pixels).astype(float),
            "nearest_sample": nearest,
            "nearest_sample_distance": distance,
        }
    )


def real_table(reference: ReferenceSet) -> pd.DataFrame:
    """Return a row a real image, with the columns of the samples' table that failures are classified by."""
    return pd.DataFrame(
        {
            "label": reference.labels,
            "label_probability": reference.real.label_probabilities(reference.labels),
            "nearest_distance": reference.real.nearest_distances,
            "sharpness": reference.sharpness.astype(float),
            "nearest_sample_distance": 0.0,
        }
    )


def class_table(
    reference: ReferenceSet,
    samples: ImageFeatures,
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: list[str],
) -> pd.DataFrame:
    """Return a row a class: spread and sharpness of its samples and of its real images.

    Spread is the root mean square distance of features from their mean.

    Args:
        reference: the real images.
        samples: the samples' description.
        pixels: (n, channel, height, width), uint8, of the samples.
        labels: (n,), for which they were drawn.
        classes: by name.
    """
    sample_sharpness = sharpness(pixels)
    rows = []
    for label, name in enumerate(classes):
        drawn, real = labels == label, reference.labels == label
        agreeing = samples.probabilities[drawn].argmax(axis=1) == label
        rows.append(
            {
                "class": name,
                "samples": int(drawn.sum()),
                "real_images": int(real.sum()),
                "label_agreement": float(agreeing.mean()) if drawn.any() else 0.0,
                "spread": _spread(samples.features[drawn]),
                "real_spread": _spread(reference.real.features[real]),
                "sharpness": _median(sample_sharpness[drawn]),
                "real_sharpness": _median(reference.sharpness[real]),
                "real_sharpness_low": (
                    float(np.quantile(reference.sharpness[real], BLUR_QUANTILE))
                    if real.any()
                    else 0.0
                ),
            }
        )
    return pd.DataFrame(rows)


def _spread(features: np.ndarray) -> float:
    if len(features) < 2:  # noqa: PLR2004
        return 0.0
    return float(np.sqrt(((features - features.mean(axis=0)) ** 2).sum(axis=1).mean()))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else 0.0


def sample_grid(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the first samples of each class, (classes x SAMPLES_PER_CLASS, channel, height, width).

    The samples of a class that has fewer are repeated.
    """
    members = [np.resize(np.flatnonzero(labels == c), SAMPLES_PER_CLASS) for c in np.unique(labels)]
    grid: np.ndarray = pixels[np.concatenate(members)]
    return grid
