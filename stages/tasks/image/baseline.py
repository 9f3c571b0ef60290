"""Baselines for images: nearest prototype, and logistic regression."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.baselines import Baselines, all_classes, ladder, refuse_lone_class, softmax
from stages.shared.dataset import Dataset, read_dataset
from stages.shared.images.packed import block_means, in_parts, opened
from stages.shared.runtime import seed_for

if TYPE_CHECKING:
    from stages.shared.schema import ImageBaseline
    from stages.shared.task import Task

PROTOTYPE, LOGISTIC = "nearest prototype", "logistic regression"
SIDE = 32  # the baselines see images of at most this many blocks a side
_BORDER = 2000


def _flat(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images at `rows` as vectors, (n, values), shrunk where they are large."""
    parts = [
        block_means(images[part], SIDE).reshape(len(part), -1) for part in in_parts(rows, images)
    ]
    return np.concatenate(parts)


def _prototypes(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    sums = np.zeros((classes, _flat(images, rows[:1]).shape[1]))
    done = 0
    for part in in_parts(rows, images):
        np.add.at(sums, labels[done : done + len(part)], _flat(images, part))
        done += len(part)
    counts = np.bincount(labels, minlength=classes)[:, None]
    prototypes: np.ndarray = (sums / np.maximum(counts, 1)).astype(np.float32)
    return prototypes


def predict(
    name: str, arrays: dict[str, np.ndarray], images: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return a baseline's probabilities for the images at `rows`, (n, classes), float32.

    A prototype's logit is minus half the squared distance to it, over the mean square distance of
    a training image to its own: the posterior of Gaussians that share one round covariance.
    """
    parts = []
    for part in in_parts(rows, images):
        flat = _flat(images, part)
        if name == PROTOTYPE:
            prototypes = arrays["prototypes"]
            squared = (prototypes**2).sum(axis=1) - 2 * flat @ prototypes.T
            logits = -squared / (2 * arrays["variance"])
        else:
            logits = flat @ arrays["weights"].T + arrays["bias"]
        parts.append(softmax(logits))
    return np.concatenate(parts)


def fit(task: "Task") -> Baselines:
    """Fit both baselines on the training data; the stronger on validation is the one to beat."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    params: ImageBaseline = task.params.baseline
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    rows, labels = dataset.rows("train"), dataset.labels("train")
    classes = len(dataset.classes)

    prototypes = _prototypes(images, rows, labels, classes)
    draw = np.random.default_rng(seed_for("baseline sample")).permutation(len(rows))
    some = np.sort(draw[: params.fit_on_at_most])
    refuse_lone_class(labels[some], "image.baseline.fit_on_at_most", params.fit_on_at_most)
    flat = _flat(images, rows[some])
    variance = ((flat - prototypes[labels[some]]) ** 2).sum(axis=1).mean() / flat.shape[1]
    model = LogisticRegression(C=params.regularisation, max_iter=params.max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the pack says whether it converged
        model.fit(flat, labels[some])
    weights, bias = all_classes(model, classes)
    arrays: dict[str, np.ndarray] = {
        "prototypes": prototypes,
        "variance": np.array([max(variance, 1e-6)], dtype=np.float32),
        "weights": weights,
        "bias": bias,
    }
    fitted_on = {PROTOTYPE: len(rows), LOGISTIC: len(some)}

    def asked(name: str, split: str) -> np.ndarray:
        where = rows[some] if split == "train" else dataset.rows(split)
        return predict(name, arrays, images, where)

    return ladder(
        dataset,
        fitted_on,
        asked,
        labels[some],
        {
            "sees": f"each image as block means, at most {SIDE} x {SIDE}",
            "border_accuracy": _border_accuracy(images, dataset, rows, labels),
            "converged": bool(model.n_iter_.max() < params.max_iterations),
        },
        arrays,
    )


def _border_accuracy(
    images: np.ndarray, dataset: Dataset, rows: np.ndarray, labels: np.ndarray
) -> float:
    """Return the validation accuracy of the nearest prototype on the outermost ring of pixels alone.

    Far above chance, it says that the background gives the class away.
    """
    ring = np.ones(images.shape[1:], dtype=bool)
    ring[:, 1:-1, 1:-1] = False
    some = np.sort(np.random.default_rng(seed_for("border")).permutation(len(rows))[:_BORDER])
    edge = images[rows[some]][:, ring].astype(np.float32) / 255
    held = images[dataset.rows("validation")[:_BORDER]][:, ring].astype(np.float32) / 255
    given = labels[some]
    present = np.unique(given)
    prototypes = np.stack([edge[given == label].mean(axis=0) for label in present])
    nearest = ((prototypes**2).sum(axis=1) - 2 * held @ prototypes.T).argmin(axis=1)
    return float((present[nearest] == dataset.labels("validation")[:_BORDER]).mean())
