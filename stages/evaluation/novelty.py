"""Is an input unlike the training data? By its distance to the nearest training sample.

The distance is Euclidean, in the features that the network's head classifies: nearest neighbours detect
inputs out of distribution (Sun et al., 2022, section 3, with k = 1 and without normalising the features).
The limit is chosen on validation data: 99% of validation samples are at most so far from a training sample.
"""

from typing import TYPE_CHECKING

import numpy as np

from stages.core.files import read_arrays
from stages.evaluation.error_analysis import nearest_neighbours
from stages.evaluation.folds import features_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stages.core.task import Task

USUAL = 0.99
_MOST_VALIDATION_SAMPLES = 2000


def usual_distance(training: np.ndarray, validation: np.ndarray) -> float:
    """Return the distance within which 99% of validation samples have a training sample.

    Args:
        training: features (n, width).
        validation: features (m, width); of more than 2,000 every k-th is measured.
    """
    step = -(-len(validation) // _MOST_VALIDATION_SAMPLES)
    _, distances = nearest_neighbours(validation[::step], training, 1)
    return float(np.quantile(distances[:, 0], USUAL))


def novelty_warnings(fold: "Task", features: np.ndarray) -> list[str]:
    """Return for each input in what way it is unlike the training data; "" where it is not.

    Nothing is known before the stage evaluate has run: then all are "".

    Args:
        fold: whose primary seed's model predicts; without folds, the task.
        features: of the inputs by that model, (n, width).
    """
    path = fold.folder("evaluate") / "features.safetensors"
    if not path.exists():
        return [""] * len(features)
    stored: Mapping[str, np.ndarray] = read_arrays(path)
    names = [features_key(split, fold.fold) for split in ("train", "validation")]
    if not all(name in stored for name in names):  # of an earlier version
        return [""] * len(features)
    training, validation = (stored[name] for name in names)
    limit = usual_distance(training, validation)
    _, distances = nearest_neighbours(features, training, 1)
    return [
        f"unlike the training data: its distance to the nearest training sample is {distance:.3g} in the "
        f"features of the model, that of {USUAL:.0%} of validation samples at most {limit:.3g}"
        if distance > limit
        else ""
        for distance in distances[:, 0]
    ]
