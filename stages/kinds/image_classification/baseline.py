"""Baselines for images: most frequent class, nearest prototype, logistic regression, flatten + linear."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.core.runtime import seed_for
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.images.packed import block_means, in_batches, open_packed
from stages.evaluation.baselines import (
    FittedBaselines,
    compare_baselines,
    require_two_classes,
    softmax,
    softmax_weights,
)

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.training.classification import Batch

NAMES = {
    "most_frequent_class": "most frequent class",
    "nearest_prototype": "nearest prototype",
    "logistic_regression": "logistic regression",
    "flatten_linear": "flatten + linear",
}
SIDE = 32  # blocks a side, at most, to which images are reduced
_BORDER_SAMPLES = 2000

# Rows of the packed array -> probabilities (n, classes), float32.
PredictRows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Baseline:
    """One fitted baseline.

    Attributes:
        predict: rows of the packed array -> probabilities (n, classes), float32.
        training_rows: the rows it was fitted on.
        training_labels: their labels.
        arrays: its parameters.
        converged: whether fitting converged.
        history: the training log, of a baseline that is trained by the loop.
    """

    predict: PredictRows
    training_rows: np.ndarray
    training_labels: np.ndarray
    arrays: dict[str, np.ndarray]
    converged: bool = True
    history: list[dict[str, float]] | None = None


def fit(task: "Task") -> FittedBaselines:
    """Fit the baselines on training data; the strongest on validation data is the one to beat."""
    dataset = read_dataset(task.folder("prepare"))
    images = open_packed(task.folder("prepare") / "images.npy")
    fitted: dict[str, Baseline] = {
        NAMES[method]: _FIT[method](task, dataset, images)
        for method in task.params.baseline.methods
    }

    def predict(name: str, split: str) -> np.ndarray:
        baseline = fitted[name]
        return baseline.predict(baseline.training_rows if split == "train" else dataset.rows(split))

    baselines = compare_baselines(
        dataset,
        {name: len(baseline.training_rows) for name, baseline in fitted.items()},
        predict,
        {name: baseline.training_labels for name, baseline in fitted.items()},
        {
            "input": f"block means of each image, at most {SIDE} x {SIDE}; flatten + linear: its pixels",
            "border_accuracy": _border_accuracy(images, dataset),
            "converged": all(baseline.converged for baseline in fitted.values()),
        },
        {k: v for baseline in fitted.values() for k, v in baseline.arrays.items()},
    )
    trained = fitted.get(NAMES["flatten_linear"])
    if trained is None:
        return baselines
    return replace(baselines, extra_files={"log.csv": pd.DataFrame(trained.history)})


def _most_frequent_class(_task: "Task", dataset: Dataset, _images: np.ndarray) -> Baseline:
    """Predict the classes' shares of the training data, whatever the image."""
    rows, labels = dataset.rows("train"), dataset.labels("train")
    share = np.bincount(labels, minlength=len(dataset.classes)) / len(labels)
    share = share.astype(np.float32)
    return Baseline(lambda part: np.tile(share, (len(part), 1)), rows, labels, {"share": share})


def _nearest_prototype(task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Predict by the distance to each class's mean image.

    The logit of a class is minus half the squared distance to its prototype, divided by the variance of
    training images around the prototype of their class: the posterior under Gaussians with one shared
    isotropic covariance.
    """
    rows, labels = dataset.rows("train"), dataset.labels("train")
    prototypes = _prototypes(images, rows, labels, len(dataset.classes))
    sample = _training_sample(task, len(rows))
    flat = _flatten(images, rows[sample])
    variance = ((flat - prototypes[labels[sample]]) ** 2).sum(axis=1).mean() / flat.shape[1]
    scale = np.array([max(variance, 1e-6)], dtype=np.float32)

    def logits(flat: np.ndarray) -> np.ndarray:
        squared: np.ndarray = (prototypes**2).sum(axis=1) - 2 * flat @ prototypes.T
        return -squared / (2 * scale)

    arrays = {"prototypes": prototypes, "variance": scale}
    return Baseline(_in_batches(images, logits), rows, labels, arrays)


def _logistic_regression(task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Fit multinomial logistic regression on (a random sample of) the training images."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    params = task.params.baseline.logistic_regression
    rows, labels = dataset.rows("train"), dataset.labels("train")
    sample = _training_sample(task, len(rows))
    key = task.key("baseline.logistic_regression.max_samples")
    require_two_classes(labels[sample], key, params.max_samples)
    model = LogisticRegression(C=params.regularisation, max_iter=params.max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` reports it
        model.fit(_flatten(images, rows[sample]), labels[sample])
    weights, bias = softmax_weights(model, len(dataset.classes))
    return Baseline(
        _in_batches(images, lambda flat: flat @ weights.T + bias),
        rows[sample],
        labels[sample],
        {"weights": weights, "bias": bias},
        converged=bool(model.n_iter_.max() < params.max_iterations),
    )


def _flatten_linear(task: "Task", dataset: Dataset, images: np.ndarray) -> Baseline:
    """Train one linear layer on the flattened pixels, by the same loop as the model.

    It has a weight for each pixel and class, so it cannot recognise a pattern that moves.
    """
    import torch
    from torch import nn

    from stages.core.runtime import torch_device
    from stages.training.classification import classification_run, shuffled_batches
    from stages.training.devices import launch_fabric
    from stages.training.image_networks import labelled_batches, predict_batches, to_tensor
    from stages.training.loop import fit as train

    params = task.params.baseline.flatten_linear
    rows, labels = dataset.rows("train"), torch.from_numpy(dataset.labels("train"))
    fabric = launch_fabric(task.runtime)
    size = min(params.batch_size, len(rows))

    def batches(epoch: int) -> "Iterator[Batch]":
        for indices in shuffled_batches(len(rows), size, params.seed, epoch, fabric):
            yield fabric.to_device(((to_tensor(images[rows[indices]]),), labels[indices]))

    def validation_batches() -> "Iterator[Batch]":
        validation = torch.from_numpy(dataset.labels("validation"))
        for batch in labelled_batches(images, dataset.rows("validation"), validation):
            yield fabric.to_device(batch)

    torch.manual_seed(seed_for(params.seed, "initial weights", "linear"))
    layer = nn.Linear(int(np.prod(images.shape[1:])), len(dataset.classes))
    model = nn.Sequential(nn.Flatten(), layer)
    steps = len(rows) // size
    run = classification_run(
        model, batches, validation_batches, steps, params, len(dataset.classes)
    )
    state = train(run, fabric)
    model.load_state_dict(state.weights)
    model.eval()
    device = torch_device(task.runtime)
    arrays = {
        "linear.weights": layer.weight.detach().cpu().numpy(),
        "linear.bias": layer.bias.detach().cpu().numpy(),
    }
    return Baseline(
        lambda part: softmax(predict_batches(model, images, part, device)),
        rows,
        dataset.labels("train"),
        arrays,
        history=state.history,
    )


_FIT: dict[str, Callable[["Task", Dataset, np.ndarray], Baseline]] = {
    "most_frequent_class": _most_frequent_class,
    "nearest_prototype": _nearest_prototype,
    "logistic_regression": _logistic_regression,
    "flatten_linear": _flatten_linear,
}


def _flatten(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the images at `rows` as vectors of block means, (n, values), float32."""
    parts = [
        block_means(images[part], SIDE).reshape(len(part), -1) for part in in_batches(rows, images)
    ]
    return np.concatenate(parts)


def _in_batches(images: np.ndarray, logits: Callable[[np.ndarray], np.ndarray]) -> PredictRows:
    """Return rows -> probabilities, from `logits`, a function of flattened images."""
    return lambda rows: np.concatenate(
        [softmax(logits(_flatten(images, part))) for part in in_batches(rows, images)]
    )


def _training_sample(task: "Task", count: int) -> np.ndarray:
    """Return the sorted indices of the `max_samples` training images on which baselines are fitted."""
    params = task.params.baseline.logistic_regression
    order = np.random.default_rng(seed_for("baseline sample")).permutation(count)
    return np.sort(order[: params.max_samples if params else count])


def _prototypes(
    images: np.ndarray, rows: np.ndarray, labels: np.ndarray, classes: int
) -> np.ndarray:
    sums = np.zeros((classes, _flatten(images, rows[:1]).shape[1]))
    start = 0
    for part in in_batches(rows, images):
        np.add.at(sums, labels[start : start + len(part)], _flatten(images, part))
        start += len(part)
    counts = np.bincount(labels, minlength=classes)[:, None]
    prototypes: np.ndarray = (sums / np.maximum(counts, 1)).astype(np.float32)
    return prototypes


def _border_accuracy(images: np.ndarray, dataset: Dataset) -> float:
    """Return the validation accuracy of nearest prototype on the outermost ring of pixels alone.

    If it is far above chance, the background reveals the class.
    """
    rows, labels = dataset.rows("train"), dataset.labels("train")
    ring = np.ones(images.shape[1:], dtype=bool)
    ring[:, 1:-1, 1:-1] = False
    order = np.random.default_rng(seed_for("border")).permutation(len(rows))
    sample = np.sort(order[:_BORDER_SAMPLES])
    border = images[rows[sample]][:, ring].astype(np.float32) / 255
    validation = images[dataset.rows("validation")[:_BORDER_SAMPLES]][:, ring].astype(np.float32)
    classes = np.unique(labels[sample])
    prototypes = np.stack([border[labels[sample] == label].mean(axis=0) for label in classes])
    squared = (prototypes**2).sum(axis=1) - 2 * (validation / 255) @ prototypes.T
    predicted = classes[squared.argmin(axis=1)]
    return float((predicted == dataset.labels("validation")[:_BORDER_SAMPLES]).mean())
